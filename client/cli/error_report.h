// Errors, for people and for scripts.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "client/cli/exit_code.h"

namespace denoise {

// The flag that sets a field of GenerateRequest: "--steps" for "sampler.steps", "--guidance-min"
// for "guidance.timestep_min", "--timesteps[3]" for "sampler.timesteps[3]". A field that no flag
// sets is its own name.
std::string FlagOfField(std::string_view field);

// How a command calls the fields of its request.
using FlagNamer = std::string (*)(std::string_view field);

// What went wrong, every violated field by its flag, and what to do next. Ends with a newline.
std::string ErrorText(const absl::Status& status, FlagNamer flag_of = FlagOfField);

// The same as one JSON object: {"error": {"code", "message", "violations": [{"field", "flag",
// "description"}], "retry_delay_seconds"}}, the last two where there are any. Without a newline.
std::string ErrorJson(const absl::Status& status, FlagNamer flag_of = FlagOfField);

// Tells people on standard error and, where `json`, scripts on standard output.
ExitCode ReportError(const absl::Status& status, bool json, FlagNamer flag_of = FlagOfField);

// The same for the error that a call ended with, which is no failure of the server's where the user
// has `interrupted` it.
ExitCode ReportEnd(const absl::Status& status, bool interrupted, bool json);

}  // namespace denoise
