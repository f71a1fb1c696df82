// Reports about checkpoints, for people and for scripts.
#pragma once

#include <string>
#include <vector>

#include "server/checkpoints/check_checkpoint.h"

namespace denoise {

// Several lines, the last of which ends with a newline.
std::string ReportText(const CheckpointReport& report);

// One line of JSON, {"checkpoints": [...]}, without a newline. docs/checkpoints.md has the keys.
std::string ReportsJson(const std::vector<CheckpointReport>& reports);

}  // namespace denoise
