// `denoise generate`.
#pragma once

#include <CLI/App.hpp>
#include <functional>

#include "client/cli/exit_code.h"

namespace denoise {

// Declares the command on `app`. What is returned runs it, once `app` has parsed, and may outlive
// `app`.
std::function<ExitCode()> AddGenerateCommand(CLI::App& app);

}  // namespace denoise
