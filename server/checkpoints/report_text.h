// Reports about checkpoints, for people and for scripts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/checkpoints/check_checkpoint.h"

namespace denoise {

// "1.99 GiB"
std::string SizeText(int64_t bytes);
// "859,520,964"
std::string NumberText(int64_t number);

// Several lines, the last of which ends with a newline.
std::string ReportText(const CheckpointReport& report);

// One line of JSON, {"checkpoints": [...]}, without a newline. docs/checkpoints.md has the keys.
std::string ReportsJson(const std::vector<CheckpointReport>& reports);

}  // namespace denoise
