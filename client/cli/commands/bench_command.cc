#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/bench/cancellation.h"
#include "client/bench/comparison.h"
#include "client/bench/load_run.h"
#include "client/cli/commands/bench_report.h"
#include "client/cli/commands/bench_setup.h"
#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/interrupts.h"
#include "client/cli/display/bench_text.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/bench_flags.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr char kExamples[] =
    R"(  denoise bench --models models --load 0.8 --warmup 5s --plot load.png
  denoise bench --models models --rate 4 --duration 2m -- --queue-size 32
  denoise bench --server gpu-box:50051 --mix mix.json --requests 500
  denoise bench --models models --mix mix.json --tenant-header x-tenant
  denoise bench --models models --rate 4 --seed 7 --record trace.jsonl
  denoise bench --server gpu-box:50051 --trace trace.jsonl --json run.json
  denoise bench --models models --compare --plot batching.png --markdown
  denoise bench --models models --compare --loads 0.5,1 --batchings none

Requests are sent when they arrive, whether or not earlier ones have finished,
and latencies count from the arrival. What the server refuses is a result: the
exit code says whether the benchmark ran. docs/bench.md explains the mix.
)";

constexpr double kDefaultLoad = 0.8;

std::string RequestsText(double rate) { return absl::StrCat(RateText(rate), " requests/s"); }

// The trace of a single run, and where its arrivals come from.
struct TitledTrace {
  std::string arrivals;
  Trace trace;

  std::string Title() const {
    return absl::StrCat(Plural(static_cast<int64_t>(trace.size()), "request"), " in ",
                        SecondsText(trace.back().arrival_seconds), " s: ", arrivals);
  }
};

absl::StatusOr<double> FindCapacity(const BenchFlags& flags, const Trace& sample,
                                    TestedServer& server) {
  if (flags.capacity) return *flags.capacity;
  SayBench(absl::StrCat("measuring the capacity with ", flags.capacity_calls, " calls in flight"));
  return MeasureCapacity(sample, flags.capacity_calls, server);
}

absl::StatusOr<TitledTrace> MakeTrace(const BenchFlags& flags, const Workload& workload,
                                      const Trace& sample, TestedServer& server) {
  if (!flags.trace.empty()) {
    return TitledTrace{absl::StrCat("those of ", Printable(flags.trace)), sample};
  }
  if (flags.rate) {
    ASSIGN_OR_RETURN(Trace trace, workload.AtRate(*flags.rate));
    return TitledTrace{RequestsText(*flags.rate), std::move(trace)};
  }
  const double load = flags.load.value_or(kDefaultLoad);
  ASSIGN_OR_RETURN(const double capacity, FindCapacity(flags, sample, server));
  ASSIGN_OR_RETURN(Trace trace, workload.AtRate(load * capacity));
  return TitledTrace{absl::StrCat(RequestsText(load * capacity), ", load ", load,
                                  " of the capacity ", RateText(capacity)),
                     std::move(trace)};
}

// Cancelled if the run was cut short, after its results were written.
absl::Status RunOnce(const BenchFlags& flags, Workload& workload, Cancellation& cancellation) {
  ASSIGN_OR_RETURN(const std::unique_ptr<TestedServer> server,
                   StartTestedServer(flags, {}, workload, cancellation));
  ASSIGN_OR_RETURN(const Trace sample, workload.Sample());
  RETURN_IF_ERROR(TryEachEntry(sample, *server));
  ASSIGN_OR_RETURN(const TitledTrace titled, MakeTrace(flags, workload, sample, *server));
  RETURN_IF_ERROR(CheckAndRecordTrace(flags, titled.trace));
  SayBench(titled.Title());
  const RunResult result = RunTrace(titled.trace, *server, MakeRunOptions(flags));
  ClearBenchProgress();
  RETURN_IF_ERROR(server->CheckRunning());
  RETURN_IF_ERROR(WriteBenchReport(flags, titled.Title(), titled.trace, result));
  return result.interrupted ? absl::CancelledError("interrupted") : absl::OkStatus();
}

ComparisonCallbacks MakeCallbacks(const BenchFlags& flags, Workload& workload,
                                  Cancellation& cancellation) {
  ComparisonCallbacks callbacks;
  callbacks.start = [&](const std::string& batching) {
    SayBench(absl::StrCat("starting a server with --batching=", batching));
    return StartTestedServer(flags, {absl::StrCat("--batching=", batching)}, workload,
                             cancellation);
  };
  callbacks.on_trace = [&](const Trace& trace, double capacity) {
    SayBench(absl::StrCat("capacity ", RequestsText(capacity), "; ",
                          Plural(static_cast<int64_t>(trace.size()), "request"), " at each load"));
    return CheckAndRecordTrace(flags, trace);
  };
  callbacks.on_run = [](const std::string& batching, double load) {
    SayBench(absl::StrFormat("%s at load %.3g", batching, load));
  };
  callbacks.on_result = [](const ComparedRun& run) {
    const GroupReport& all = run.report.all;
    SayBench(absl::StrFormat("%s at load %.3g: %d of %d requests in time, %s", run.batching,
                             run.load, all.in_time, all.requests,
                             RequestsText(run.report.PerSecond(static_cast<double>(all.in_time)))));
  };
  return callbacks;
}

// Likewise.
absl::Status RunComparison(const BenchFlags& flags, Workload& workload,
                           Cancellation& cancellation) {
  const ComparisonOptions options{.batchings = flags.batchings,
                                  .loads = flags.loads,
                                  .capacity = flags.capacity.value_or(0),
                                  .capacity_in_flight = flags.capacity_calls,
                                  .run = MakeRunOptions(flags)};
  ASSIGN_OR_RETURN(const Comparison comparison,
                   Compare(workload, options, MakeCallbacks(flags, workload, cancellation)));
  RETURN_IF_ERROR(WriteComparison(flags, comparison));
  return comparison.interrupted ? absl::CancelledError("interrupted") : absl::OkStatus();
}

absl::Status Bench(const BenchFlags& flags, Cancellation& cancellation) {
  RETURN_IF_ERROR(CheckBench(flags));
  ASSIGN_OR_RETURN(Workload workload, ReadWorkload(flags));
  return flags.compare ? RunComparison(flags, workload, cancellation)
                       : RunOnce(flags, workload, cancellation);
}

ExitCode RunBench(const BenchFlags& flags) {
  Interrupts interrupts;
  Cancellation cancellation;
  interrupts.SetHandler([&cancellation] { cancellation.Cancel(); });
  const absl::Status status = Bench(flags, cancellation);
  interrupts.SetHandler(nullptr);
  return status.ok() ? kExitOk : ReportEnd(status, interrupts.interrupted(), /*json=*/false);
}

}  // namespace

Command AddBenchCommand(CLI::App& app) {
  const auto flags = std::make_shared<BenchFlags>();
  AddBenchFlags(app, *flags);
  SetExamples(app, kExamples);
  return [flags] { return RunBench(*flags); };
}

}  // namespace denoise
