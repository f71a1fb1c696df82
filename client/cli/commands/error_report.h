// How a command ends: its exit code, and errors for people and for scripts.
#pragma once

#include <span>
#include <string>

#include "absl/status/status.h"
#include "client/cli/flags/message_flags.h"

namespace denoise {

// The exit code of the process. Part of the contract: docs/cli.md.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,            // the server failed, or a file could not be written
  kExitUsage = 2,             // a wrong flag, or INVALID_ARGUMENT
  kExitUnavailable = 3,       // not reachable, not serving, its queue full, or draining
  kExitDeadlineExceeded = 4,  // --deadline passed, or cannot be met
  kExitNotFound = 5,          // no such model, job, data set or service
  kExitInterrupted = 130,     // Ctrl-C
};

ExitCode ExitCodeOf(const absl::Status& status);

// For the end of --help.
inline constexpr char kExitCodesHelp[] =
    "Exit codes: 0 ok, 1 failed, 2 wrong usage or invalid request, 3 unavailable,\n"
    "4 deadline exceeded, 5 not found, 130 interrupted.";

// What went wrong, with every invalid field named by its flag among `flags`, and what to do next.
// Ends with a newline.
std::string ErrorText(const absl::Status& status, std::span<const MessageFlag> flags = {});

// The same as one JSON object: {"error": {"code", "message", "violations": [{"field", "flag",
// "description"}], "retry_delay_seconds"}}, the last two only if there are any. Without a newline.
std::string ErrorJson(const absl::Status& status, std::span<const MessageFlag> flags = {});

// Prints ErrorText to standard error and, if `json`, ErrorJson to standard output.
ExitCode ReportError(const absl::Status& status, bool json,
                     std::span<const MessageFlag> flags = {});

// The same for the status that a stream ended with. One that the user `interrupted` is reported as
// that, not as a failure of the server.
ExitCode ReportEnd(const absl::Status& status, bool interrupted, bool json,
                   std::span<const MessageFlag> flags = {});

}  // namespace denoise
