// `denoise datasets`.
#pragma once

#include <CLI/App.hpp>
#include <functional>

#include "client/cli/exit_code.h"

namespace denoise {

// Declares the commands below `datasets` on `app`. What is returned runs the one that was chosen, once
// `app` has parsed.
std::function<ExitCode()> AddDatasetsCommand(CLI::App& app);

}  // namespace denoise
