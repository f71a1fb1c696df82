#include "client/bench/comparison.h"

#include <utility>

#include "core/base/status_macros.h"

namespace denoise {
namespace {

class Comparer {
 public:
  Comparer(const Workload& workload, const ComparisonOptions& options,
           const ComparisonCallbacks& callbacks)
      : workload_(workload), options_(options), callbacks_(callbacks) {}

  absl::StatusOr<Comparison> Run() {
    for (const std::string& batching : options_.batchings) {
      const absl::Status status = RunOn(batching);
      comparison_.interrupted = absl::IsCancelled(status);
      if (comparison_.interrupted && !comparison_.runs.empty()) break;
      RETURN_IF_ERROR(status);
    }
    return std::move(comparison_);
  }

 private:
  absl::Status RunOn(const std::string& batching) {
    ASSIGN_OR_RETURN(const std::unique_ptr<TestedServer> server, callbacks_.start(batching));
    ASSIGN_OR_RETURN(const Trace sample, workload_.Sample());
    RETURN_IF_ERROR(TryEachEntry(sample, *server));
    if (trace_.empty()) RETURN_IF_ERROR(MakeTrace(sample, *server));
    for (const double load : options_.loads) RETURN_IF_ERROR(RunAt(batching, load, *server));
    return absl::OkStatus();
  }

  absl::Status MakeTrace(const Trace& sample, TestedServer& server) {
    comparison_.capacity = options_.capacity;
    if (comparison_.capacity == 0) {
      ASSIGN_OR_RETURN(comparison_.capacity,
                       MeasureCapacity(sample, options_.capacity_in_flight, server));
    }
    ASSIGN_OR_RETURN(trace_, workload_.AtRate(comparison_.capacity));
    return callbacks_.on_trace(trace_, comparison_.capacity);
  }

  // Cancelled if the run was cut short; what it measured until then is kept.
  absl::Status RunAt(const std::string& batching, double load, TestedServer& server) {
    callbacks_.on_run(batching, load);
    const Trace trace = SpeedUp(trace_, load);
    const RunResult result = RunTrace(trace, server, options_.run);
    RETURN_IF_ERROR(server.CheckRunning());
    comparison_.runs.push_back({batching, load, MakeReport(trace, result)});
    callbacks_.on_result(comparison_.runs.back());
    return result.interrupted ? absl::CancelledError("interrupted") : absl::OkStatus();
  }

  const Workload& workload_;
  const ComparisonOptions& options_;
  const ComparisonCallbacks& callbacks_;
  Trace trace_;
  Comparison comparison_;
};

}  // namespace

absl::StatusOr<Comparison> Compare(const Workload& workload, const ComparisonOptions& options,
                                   const ComparisonCallbacks& callbacks) {
  return Comparer(workload, options, callbacks).Run();
}

}  // namespace denoise
