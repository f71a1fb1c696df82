// Commands of `denoise` that the program of the server, `denoised`, carries out: they need
// networks, which this program does without.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "client/cli/commands/error_report.h"

namespace denoise {

// Whether `arguments`, without the program's name, are a command that `denoised` carries out:
// check, convert or new-model.
bool IsServerProgramCommand(std::span<const std::string> arguments);

// Becomes `denoised` with the same arguments: the program beside this one, else that in $PATH.
// Returns only if there is none, with what happened reported.
ExitCode BecomeServerProgram(std::span<const std::string> arguments, bool json);

}  // namespace denoise
