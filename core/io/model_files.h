// A model in the diffusers layout as what its files say: to be trained further, and written again.
#pragma once

#include <c10/core/ScalarType.h>

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/nn/state_dict.h"

namespace denoise {

// The texts of a folder's configurations, kept to the letter so that what we do not read is passed
// on, and the weights under the names of today, float32 on the CPU.
struct ModelFiles {
  std::string model_index;       // model_index.json
  std::string unet_config;       // unet/config.json
  std::string scheduler_config;  // scheduler/scheduler_config.json
  StateDict weights;
};

// As LoadCheckpoint does, with the same checks and errors. DescribeModel says what the texts mean.
absl::StatusOr<ModelFiles> LoadModelFiles(const std::filesystem::path& folder);

// Writes a folder that LoadCheckpoint, and the Python library, load: into a temporary folder beside
// `folder`, synced, then renamed to `folder`. AlreadyExists: `folder` does. InvalidArgument:
// LoadCheckpoint would refuse it, with the same errors. FailedPrecondition: a weight is too large
// for `dtype`, that of the weights in the file. ResourceExhausted: the disk is full. Errors of the
// file system carry no path.
absl::Status WriteModelFiles(const std::filesystem::path& folder, const ModelFiles& files,
                             at::ScalarType dtype = at::kFloat);

}  // namespace denoise
