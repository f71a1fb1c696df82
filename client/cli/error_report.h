// Errors, for people and for scripts.
#pragma once

#include <span>
#include <string>

#include "absl/status/status.h"
#include "client/cli/exit_code.h"
#include "client/cli/flags/message_flags.h"

namespace denoise {

// What went wrong, every violated field by its flag among `flags`, and what to do next. Ends with a
// newline.
std::string ErrorText(const absl::Status& status, std::span<const MessageFlag> flags = {});

// The same as one JSON object: {"error": {"code", "message", "violations": [{"field", "flag",
// "description"}], "retry_delay_seconds"}}, the last two where there are any. Without a newline.
std::string ErrorJson(const absl::Status& status, std::span<const MessageFlag> flags = {});

// Tells people on standard error and, where `json`, scripts on standard output.
ExitCode ReportError(const absl::Status& status, bool json,
                     std::span<const MessageFlag> flags = {});

// The same for the error that a call ended with, which is no failure of the server's where the user
// has `interrupted` it.
ExitCode ReportEnd(const absl::Status& status, bool interrupted, bool json,
                   std::span<const MessageFlag> flags = {});

}  // namespace denoise
