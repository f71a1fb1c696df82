#include "client/bench/report.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string_view>
#include <utility>

#include "core/base/error_details.h"

namespace denoise {
namespace {

void SortSamples(GroupReport& group) {
  group.queue_wait.Sort();
  group.first_frame.Sort();
  group.request.Sort();
}

void AddLatencies(const CallOutcome& outcome, GroupReport& group) {
  if (outcome.queue_wait) group.queue_wait.Add(absl::ToDoubleSeconds(*outcome.queue_wait));
  if (outcome.first_frame) group.first_frame.Add(absl::ToDoubleSeconds(*outcome.first_frame));
  if (outcome.succeeded()) group.request.Add(absl::ToDoubleSeconds(outcome.latency()));
}

void AddOutcome(const CallOutcome& outcome, absl::Duration deadline, GroupReport& group) {
  ++group.requests;
  if (!outcome.sent) {
    ++group.not_sent;
    return;
  }
  group.succeeded += outcome.succeeded() ? 1 : 0;
  group.in_time += outcome.succeeded() && outcome.latency() <= deadline ? 1 : 0;
  group.shortened += outcome.steps_left_out > 0 ? 1 : 0;
  group.images += static_cast<size_t>(outcome.images);
  group.frames += static_cast<size_t>(outcome.frames);
  group.frames_dropped += static_cast<size_t>(outcome.frames_dropped);
  group.row_evaluations += outcome.row_evaluations;
  AddLatencies(outcome, group);
}

// "5 steps" comes before "10 steps".
struct ByNumberThenName {
  bool operator()(const std::string& a, const std::string& b) const {
    return std::pair(std::strtoul(a.c_str(), nullptr, 10), std::string_view(a)) <
           std::pair(std::strtoul(b.c_str(), nullptr, 10), std::string_view(b));
  }
};

// Groups of requests by a name.
class Groups {
 public:
  void Add(const std::string& name, const CallOutcome& outcome, absl::Duration deadline) {
    GroupReport& group = groups_[name];
    group.name = name;
    AddOutcome(outcome, deadline, group);
  }

  std::vector<GroupReport> Finish() {
    std::vector<GroupReport> groups;
    for (auto& [name, group] : groups_) {
      SortSamples(group);
      groups.push_back(std::move(group));
    }
    return groups;
  }

 private:
  std::map<std::string, GroupReport, ByNumberThenName> groups_;
};

class Failures {
 public:
  void Add(const absl::Status& status) {
    const std::string code = absl::StatusCodeToString(status.code());
    const std::string reason = GetErrorReason(status).value_or("");
    Failure& failure = failures_[{code, reason}];
    if (failure.count++ > 0) return;
    failure.code = code;
    failure.reason = reason;
    failure.message = std::string(status.message());
  }

  std::vector<Failure> Finish() {
    std::vector<Failure> failures;
    for (auto& [key, failure] : failures_) failures.push_back(std::move(failure));
    std::stable_sort(failures.begin(), failures.end(),
                     [](const Failure& a, const Failure& b) { return a.count > b.count; });
    return failures;
  }

 private:
  std::map<std::pair<std::string, std::string>, Failure> failures_;
};

// Takes the outcomes of a run one by one.
class ReportMaker {
 public:
  ReportMaker(const Trace& trace, const RunResult& result)
      : trace_(trace), measured_from_(result.measured_from), end_(result.measured_from) {
    report_.all.name = "all";
    report_.offered_rate = MeanRate(trace);
    report_.server = result.server;
    report_.interrupted = result.interrupted;
  }

  void Add(const CallOutcome& outcome) {
    if (outcome.arrival < measured_from_) return;
    if (outcome.sent) end_ = std::max(end_, outcome.end);
    if (outcome.cut_off) {
      ++report_.cut_off;
      return;
    }
    AddToGroups(outcome, trace_[outcome.request].load);
    if (!outcome.sent) return;
    report_.send_delay.Add(absl::ToDoubleSeconds(*outcome.sent - outcome.arrival));
    if (!outcome.status.ok()) failures_.Add(outcome.status);
  }

  BenchReport Finish() {
    SortSamples(report_.all);
    report_.send_delay.Sort();
    report_.entries = entries_.Finish();
    report_.priorities = priorities_.Finish();
    report_.tenants = tenants_.Finish();
    report_.failures = failures_.Finish();
    report_.seconds = absl::ToDoubleSeconds(end_ - measured_from_);
    return std::move(report_);
  }

 private:
  void AddToGroups(const CallOutcome& outcome, const LoadRequest& load) {
    AddOutcome(outcome, load.deadline, report_.all);
    entries_.Add(load.entry, outcome, load.deadline);
    priorities_.Add(PriorityName(load.request.priority()), outcome, load.deadline);
    tenants_.Add(load.tenant, outcome, load.deadline);
  }

  const Trace& trace_;
  const absl::Time measured_from_;
  absl::Time end_;
  Groups entries_, priorities_, tenants_;
  Failures failures_;
  BenchReport report_;
};

}  // namespace

double BenchReport::Share(const GroupReport& group) const {
  return all.row_evaluations > 0 ? group.row_evaluations / all.row_evaluations : 0;
}

std::optional<double> BenchReport::RowsPerEvaluation() const {
  if (!server || server->evaluations == 0) return std::nullopt;
  return static_cast<double>(server->rows) / static_cast<double>(server->evaluations);
}

BenchReport MakeReport(const Trace& trace, const RunResult& result) {
  ReportMaker maker(trace, result);
  for (const CallOutcome& outcome : result.outcomes) maker.Add(outcome);
  return maker.Finish();
}

std::vector<InFlight> InFlightOverTime(const RunResult& result) {
  std::vector<std::pair<absl::Time, int>> changes;
  for (const CallOutcome& outcome : result.outcomes) {
    if (!outcome.sent) continue;
    changes.push_back({*outcome.sent, 1});
    changes.push_back({outcome.end, -1});
  }
  std::sort(changes.begin(), changes.end());
  std::vector<InFlight> corners = {{0, 0}};
  for (const auto& [time, change] : changes) {
    const double seconds = absl::ToDoubleSeconds(time - result.start);
    const int before = corners.back().calls;
    corners.push_back({seconds, before});
    corners.push_back({seconds, before + change});
  }
  return corners;
}

}  // namespace denoise
