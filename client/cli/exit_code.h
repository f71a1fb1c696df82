// What the process answers to whoever started it. Part of the contract: docs/cli.md.
#pragma once

#include "absl/status/status.h"

namespace denoise {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,            // the server failed, or a file could not be written
  kExitUsage = 2,             // a wrong flag, or INVALID_ARGUMENT
  kExitUnavailable = 3,       // not reachable, not serving, its queue full, or draining
  kExitDeadlineExceeded = 4,  // --deadline passed, or cannot be met
  kExitNotFound = 5,          // no such model or service
  kExitInterrupted = 130,     // Ctrl-C
};

ExitCode ExitCodeOf(const absl::Status& status);

// For the end of --help.
inline constexpr char kExitCodesHelp[] =
    "Exit codes: 0 ok, 1 failed, 2 wrong usage or an invalid request, 3 server unavailable,\n"
    "4 deadline exceeded, 5 not found, 130 interrupted.";

}  // namespace denoise
