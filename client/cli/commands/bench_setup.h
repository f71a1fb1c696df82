// What a single run of `denoise bench` and a comparison have in common.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/bench/cancellation.h"
#include "client/bench/load_run.h"
#include "client/bench/tested_server.h"
#include "client/bench/trace.h"
#include "client/bench/workload.h"
#include "client/cli/flags/bench_flags.h"

namespace denoise {

// InvalidArgument if the flags do not fit together, or a file that they name may not be replaced.
absl::Status CheckBench(const BenchFlags& flags);

// From the files of --mix or --trace, or the default mix. InvalidArgument names what is wrong.
absl::StatusOr<Workload> ReadWorkload(const BenchFlags& flags);

// Connects to --server, or starts a server of our own with `more_flags`, and resolves `workload`
// with it.
absl::StatusOr<std::unique_ptr<TestedServer>> StartTestedServer(
    const BenchFlags& flags, const std::vector<std::string>& more_flags, Workload& workload,
    Cancellation& cancellation);

// Progress goes to standard error: on a terminal in place, elsewhere every ten seconds.
RunOptions MakeRunOptions(const BenchFlags& flags);
// Removes the progress from the terminal, if it is there.
void ClearBenchProgress();
// The same, then prints a line that stays.
void SayBench(const std::string& line);

// InvalidArgument if `trace` ends before the warm-up does, at any load of a comparison. Else writes
// it to --record, if given.
absl::Status CheckAndRecordTrace(const BenchFlags& flags, const Trace& trace);

}  // namespace denoise
