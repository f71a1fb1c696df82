// One trace at several loads, on servers that batch in different ways.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/bench/load_run.h"
#include "client/bench/report.h"
#include "client/bench/tested_server.h"
#include "client/bench/trace.h"
#include "client/bench/workload.h"

namespace denoise {

struct ComparedRun {
  std::string batching;
  double load = 0;  // the rate of arrivals relative to the capacity
  BenchReport report;
};

struct Comparison {
  double capacity = 0;  // requests a second
  std::vector<ComparedRun> runs;
  bool interrupted = false;  // the last run is incomplete, and later ones are missing
};

struct ComparisonOptions {
  std::vector<std::string> batchings;  // in turn
  std::vector<double> loads;           // of each
  double capacity = 0;                 // 0: to be measured, on the first server
  int capacity_in_flight = 1;
  RunOptions run;
};

struct ComparisonCallbacks {
  // Starts a server and resolves the workload with it. The server before has ended.
  std::function<absl::StatusOr<std::unique_ptr<TestedServer>>(const std::string& batching)> start;
  // Takes the trace, whose requests arrive at the rate of the capacity, once it is known.
  std::function<absl::Status(const Trace&, double capacity)> on_trace;
  // Called before and after each run.
  std::function<void(const std::string& batching, double load)> on_run;
  std::function<void(const ComparedRun&)> on_result;
};

absl::StatusOr<Comparison> Compare(const Workload& workload, const ComparisonOptions& options,
                                   const ComparisonCallbacks& callbacks);

}  // namespace denoise
