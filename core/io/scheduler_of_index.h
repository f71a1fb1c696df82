// The scheduler of a model folder.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/sampling/options/scheduler_config.h"

namespace denoise {

// Parses `json`, the text of `config_file`, as the configuration of `class_name`, the scheduler that
// `index_file` names. As in the library, a `_class_name` in `json` does not matter: people change
// a model's scheduler in the index alone, and keys that the class does not have are ignored.
// InvalidArgument names the file and the key.
absl::StatusOr<SchedulerConfig> ParseSchedulerOfIndex(const std::string& class_name,
                                                      std::string_view index_file,
                                                      std::string_view json,
                                                      std::string_view config_file);

}  // namespace denoise
