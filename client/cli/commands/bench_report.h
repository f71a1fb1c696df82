// Where a benchmark's results go: standard output, --json and --plot.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "client/bench/comparison.h"
#include "client/bench/load_run.h"
#include "client/bench/report.h"
#include "client/bench/trace.h"
#include "client/cli/flags/bench_flags.h"

namespace denoise {

// `title` says what was run. Internal if a file cannot be written; the tables are printed first.
absl::Status WriteBenchReport(const BenchFlags& flags, const std::string& title, const Trace& trace,
                              const RunResult& result);
absl::Status WriteComparison(const BenchFlags& flags, const Comparison& comparison);

}  // namespace denoise
