#include "client/bench/load_run.h"

#include <algorithm>
#include <future>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/status_from_grpc.h"

namespace denoise {
namespace {

constexpr absl::Duration kProgressInterval = absl::Seconds(1);

// A closed loop sends this many times as many requests as are in flight. Its first and last rounds
// are not measured, because the loop is filling up or draining.
constexpr int kRoundsOfCapacity = 5;

LoadRequest WithoutDeadline(LoadRequest load) {
  load.deadline = absl::InfiniteDuration();
  load.pace = {};
  return load;
}

// The requests of one run in progress.
class Run {
 public:
  Run(const Trace& trace, TestedServer& server, const RunOptions& options)
      : trace_(trace), server_(server), options_(options) {
    result_.start = absl::Now();
    result_.measured_from = result_.start + options.warmup;
    next_report_ = result_.start + kProgressInterval;
  }

  RunResult Finish() {
    std::future<absl::StatusOr<ServerTotals>> before;
    for (next_ = 0; next_ < trace_.size(); ++next_) {
      const absl::Time arrival = result_.start + absl::Seconds(trace_[next_].arrival_seconds);
      if (!before.valid() && arrival >= result_.measured_from) before = ReadTotals();
      if (!WaitFor(arrival)) break;
      Send(arrival);
    }
    WaitForCalls();
    if (before.valid()) SubtractTotals(before.get());
    Collect();
    return std::move(result_);
  }

 private:
  // Beside the run, which does not wait for it.
  std::future<absl::StatusOr<ServerTotals>> ReadTotals() const {
    return std::async(std::launch::async, [this]() -> absl::StatusOr<ServerTotals> {
      if (!server_.cancellation().WaitUntil(result_.measured_from)) {
        return absl::CancelledError("interrupted");
      }
      return ReadServerTotals(server_.connection());
    });
  }

  void SubtractTotals(const absl::StatusOr<ServerTotals>& before) {
    if (!before.ok()) return;
    const absl::StatusOr<ServerTotals> after = ReadServerTotals(server_.connection());
    if (after.ok()) result_.server = *after - *before;
  }

  // False once cancelled.
  bool WaitFor(absl::Time arrival) {
    while (true) {
      if (!server_.cancellation().WaitUntil(std::min(arrival, next_report_))) return false;
      ReportProgress();
      if (absl::Now() >= arrival) return true;
    }
  }

  void Send(absl::Time arrival) {
    if (server_.pool().in_flight() < options_.max_in_flight) {
      server_.pool().Start(trace_[next_].load, next_, arrival);
    } else {
      result_.outcomes.push_back({.request = next_, .arrival = arrival});
    }
  }

  void WaitForCalls() {
    while (!server_.pool().WaitUntilAtMost(0, next_report_)) ReportProgress();
  }

  void ReportProgress() {
    const absl::Time now = absl::Now();
    if (now < next_report_) return;
    next_report_ = now + kProgressInterval;
    if (!options_.on_progress) return;
    options_.on_progress({now - result_.start, next_, trace_.size(), server_.pool().in_flight()});
  }

  void Collect() {
    for (CallOutcome& outcome : server_.pool().Take())
      result_.outcomes.push_back(std::move(outcome));
    std::sort(result_.outcomes.begin(), result_.outcomes.end(),
              [](const CallOutcome& a, const CallOutcome& b) { return a.request < b.request; });
    result_.interrupted = server_.cancellation().cancelled();
  }

  const Trace& trace_;
  TestedServer& server_;
  const RunOptions& options_;
  size_t next_ = 0;
  absl::Time next_report_;
  RunResult result_;
};

// Completions a second between the first `in_flight` of them and the last: the loop is full then.
absl::StatusOr<double> FullLoopRate(const std::vector<CallOutcome>& ended, int in_flight) {
  const CallOutcome& first = ended[static_cast<size_t>(in_flight) - 1];
  const CallOutcome& last = ended[ended.size() - static_cast<size_t>(in_flight)];
  const auto succeeded =
      std::count_if(&first + 1, &last + 1, [](const CallOutcome& one) { return one.succeeded(); });
  const double seconds = absl::ToDoubleSeconds(last.end - first.end);
  if (2 * succeeded > &last - &first && seconds > 0) return succeeded / seconds;
  const auto failed = std::find_if(ended.begin(), ended.end(),
                                   [](const CallOutcome& one) { return !one.succeeded(); });
  return absl::FailedPreconditionError(absl::StrCat(
      "the server's capacity cannot be measured: most requests fail",
      failed == ended.end() ? "" : absl::StrCat(", the first with ", failed->status.ToString()),
      ". Say how large it is with --capacity, or give --rate"));
}

// Of a request that found nothing wrong with itself, but no room or no time.
bool MaySucceedLater(const absl::Status& status) {
  if (absl::IsUnavailable(status)) return status.GetPayload(kRpcStatusUrl).has_value();
  return absl::IsResourceExhausted(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace

RunResult RunTrace(const Trace& trace, TestedServer& server, const RunOptions& options) {
  return Run(trace, server, options).Finish();
}

absl::StatusOr<double> MeasureCapacity(const Trace& trace, int in_flight, TestedServer& server) {
  std::vector<LoadRequest> loads;
  for (int i = 0; i < in_flight * kRoundsOfCapacity; ++i) {
    loads.push_back(WithoutDeadline(trace[static_cast<size_t>(i) % trace.size()].load));
  }
  for (const LoadRequest& load : loads) {
    server.pool().WaitUntilAtMost(in_flight - 1);
    if (server.cancellation().cancelled()) break;
    server.pool().Start(load, 0, absl::Now());
  }
  server.pool().WaitUntilAtMost(0);
  const std::vector<CallOutcome> ended = server.pool().Take();
  if (server.cancellation().cancelled()) return absl::CancelledError("interrupted");
  return FullLoopRate(ended, in_flight);
}

absl::Status TryEachEntry(const Trace& trace, TestedServer& server) {
  std::set<std::string> tried;
  for (const TracedRequest& traced : trace) {
    if (!tried.insert(traced.load.entry).second) continue;
    const LoadRequest load = WithoutDeadline(traced.load);
    server.pool().Start(load, 0, absl::Now());
    server.pool().WaitUntilAtMost(0);
    const absl::Status status = server.pool().Take().front().status;
    if (server.cancellation().cancelled()) return absl::CancelledError("interrupted");
    if (!status.ok() && !MaySucceedLater(status)) return status;
  }
  return absl::OkStatus();
}

}  // namespace denoise
