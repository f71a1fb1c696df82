// Runs of a benchmark: a trace against a server, and what comes before it.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/bench/call_outcome.h"
#include "client/bench/server_totals.h"
#include "client/bench/tested_server.h"
#include "client/bench/trace.h"

namespace denoise {

struct RunProgress {
  absl::Duration elapsed;
  size_t arrived = 0;  // of the trace
  size_t total = 0;
  int in_flight = 0;
};

struct RunOptions {
  int max_in_flight = 1000;  // requests that arrive while as many are in flight are not sent
  absl::Duration warmup;     // requests that arrive earlier are sent, but not measured
  std::function<void(const RunProgress&)> on_progress;  // about once a second; may be empty
};

struct RunResult {
  absl::Time start;
  absl::Time measured_from;           // the end of the warm-up
  std::vector<CallOutcome> outcomes;  // of the requests that arrived, in the order of the trace
  // What the server did from the end of the warm-up to the end of the last call. Absent where it
  // does not say.
  std::optional<ServerTotals> server;
  bool interrupted = false;
};

// Sends every request when it arrives, whether or not earlier ones have finished, and waits for all
// of them to end. Cancelling ends the run early.
RunResult RunTrace(const Trace& trace, TestedServer& server, const RunOptions& options);

// Requests a second that the server finishes while always `in_flight` requests of `trace`, without
// their deadlines, are under way. FailedPrecondition: too many failed. Cancelled: cancelled.
absl::StatusOr<double> MeasureCapacity(const Trace& trace, int in_flight, TestedServer& server);

// Sends the first request of each entry alone, without its deadline, so that models load and
// mistakes show before the clock starts. An error is that of a request that cannot succeed; a
// server that is full or out of time is no error.
absl::Status TryEachEntry(const Trace& trace, TestedServer& server);

}  // namespace denoise
