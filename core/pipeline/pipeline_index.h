// model_index.json of any pipeline: its class, and the classes of its components.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

inline constexpr char kModelIndexFile[] = "model_index.json";
inline constexpr size_t kMaxPipelineConfigBytes = size_t{1} << 20;  // of any configuration

struct PipelineIndex {
  std::string pipeline;                           // `_class_name`
  std::string library_version;                    // "0.42.1"; may be empty
  std::map<std::string, std::string> components;  // "unet": "UNet2DConditionModel"; those present
  std::map<std::string, bool> switches;           // settings that are true or false
};

// `json` may be anything. InvalidArgument has a field violation per wrong key. Components that are
// declared absent ([null, null]) are left out; settings other than switches are ignored.
absl::StatusOr<PipelineIndex> ParsePipelineIndex(std::string_view json);

}  // namespace denoise
