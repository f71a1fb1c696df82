// `denoised rank`: trains what a server leads (docs/training-on-several-machines.md).
#pragma once

#include <iosfwd>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "server/shutdown_signal.h"

namespace denoise {

struct RankFlags {
  std::string join;  // HOST:PORT
  std::string device = "auto";
  int threads = 0;  // 0: one for each core
  bool once = false;
  std::string log_level = "info";
};

// `argv[0]` is "rank". The exit code where the process ends already: 0 after --help, 2 on wrong
// usage.
std::variant<RankFlags, int> ParseRankFlags(int argc, const char* const* argv, std::ostream& out,
                                            std::ostream& err);

// Takes part in one run after another until a signal arrives, or until a job is finished (`once`;
// Cancelled: a signal came first). Other errors end it: InvalidArgument and FailedPrecondition,
// where this rank does not fit the leader or a job, and Internal, once its device has failed for
// good. `shutdown` outlives the process's threads.
absl::Status RunRank(const RankFlags& flags, ShutdownSignal& shutdown);

}  // namespace denoise
