// `denoise train`.
#pragma once

#include <CLI/App.hpp>
#include <functional>

#include "client/cli/exit_code.h"

namespace denoise {

// Declares the commands below `train` on `app`. What is returned runs the one that was chosen, once
// `app` has parsed.
std::function<ExitCode()> AddTrainCommand(CLI::App& app);

}  // namespace denoise
