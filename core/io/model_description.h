// What the configurations of a model say, parsed and held against one another.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/io/model_files.h"
#include "core/nn/unet2d_config.h"
#include "core/sampling/options/scheduler_config.h"

namespace denoise {

struct ModelDescription {
  UNet2DConfig unet;
  SchedulerConfig scheduler;
  std::map<int64_t, std::string> id2label;  // class names, may be empty
  std::optional<int64_t> null_class_label;  // the class that stands for none
  std::string source;                       // "DDPMPipeline / UNet2DModel, diffusers 0.40.0"
};

// Where the texts of a model lie, relative to its folder: what errors call them.
struct ModelFileNames {
  std::string model_index = "model_index.json";
  std::string unet_config = "unet/config.json";
  std::string scheduler_config = "scheduler/scheduler_config.json";
};

// Reads the texts of `files` only, which are hostile. InvalidArgument names the file and carries
// its field violations: anything malformed, not supported, or at odds with another file (labels and
// classes, learned variance and channels, timesteps).
absl::StatusOr<ModelDescription> DescribeModel(const ModelFiles& files,
                                               const ModelFileNames& names = {});

}  // namespace denoise
