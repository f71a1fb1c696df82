// How a command ends: its exit code, and errors for people and for scripts.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "client/cli/flags/message_flags.h"
#include "core/command_line/usage_error.h"

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

// A resource that the user named on the command line.
struct TypedName {
  std::string_view field;  // of the request: "name"
  std::string_view kind;   // "job"
  std::string_view text;   // as it was typed: "abc"
  std::string_view list;   // the command that lists what exists: "denoise train list"
};

// `status` of a call for that resource. Where the server does not know it, or the name cannot be
// one, the message says so of what was typed.
absl::Status AboutName(const absl::Status& status, const TypedName& name);
// The same for a call that takes several names, some of which may be empty.
absl::Status AboutNames(absl::Status status, std::initializer_list<TypedName> names);

// Prints ErrorText to standard error and, if `json`, ErrorJson to standard output.
ExitCode ReportError(const absl::Status& status, bool json,
                     std::span<const MessageFlag> flags = {});

// The same for a command line that makes no sense; `command` is "denoise train create".
ExitCode ReportUsageError(const UsageError& error, const std::string& command, bool json);

// The same for the status that a stream ended with. One that the user `interrupted` is reported as
// that, not as a failure of the server.
ExitCode ReportEnd(const absl::Status& status, bool interrupted, bool json,
                   std::span<const MessageFlag> flags = {});

}  // namespace denoise
