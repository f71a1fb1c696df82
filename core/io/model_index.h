// model_index.json, which lists the components of a pipeline. Internal to core/io.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace denoise {

struct ModelIndex {
  std::string pipeline;         // "DDPMPipeline"
  std::string library_version;  // "0.40.0"; may be empty
  std::string unet_class;       // "UNet2DModel"
  std::string scheduler_class;  // "DDPMScheduler"
  std::map<int64_t, std::string> id2label;
  std::optional<int64_t> null_class_label;
  std::vector<std::string> ignored_keys;  // settings of pipelines, escaped; at most 20
};

// `json` is hostile. InvalidArgument carries a field violation per wrong key; components other than
// a unet and a scheduler are refused by name, unless they are declared absent ([null, null]).
// Settings of pipelines (keys whose value is no list) are ignored.
absl::StatusOr<ModelIndex> ParseModelIndex(std::string_view json);

// Checks that the labels exist in a network with `num_class_embeds` classes. InvalidArgument
// carries field violations.
absl::Status CheckLabels(const ModelIndex& index, int64_t num_class_embeds);

}  // namespace denoise
