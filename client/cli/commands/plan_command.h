// `denoise plan`.
#pragma once

#include <CLI/App.hpp>
#include <functional>

#include "client/cli/exit_code.h"

namespace denoise {

// Declares the command on `app`. What is returned runs it, once `app` has parsed, and may outlive
// `app`. Needs a server only where one is asked about its model.
std::function<ExitCode()> AddPlanCommand(CLI::App& app);

}  // namespace denoise
