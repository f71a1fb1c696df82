// `denoise generate --resume`: continues a paused generation.
#pragma once

#include "client/cli/commands/error_report.h"
#include "client/cli/flags/generate_flags.h"

namespace denoise {

// Writes what `denoise generate` does of the images that were not finished before the pause. Sheets
// only where these are all.
ExitCode ResumeGeneration(const GenerateFlags& flags);

}  // namespace denoise
