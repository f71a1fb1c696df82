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

// The program of the server as execvp takes it: the one beside this program, else the name of one in
// $PATH.
std::string ServerProgram();

// Becomes `denoised` with the same arguments. Returns only if there is no such program, with what
// happened reported.
ExitCode BecomeServerProgram(std::span<const std::string> arguments, bool json);

}  // namespace denoise
