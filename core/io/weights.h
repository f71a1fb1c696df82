// A component's weights, in one file or in shards. Internal to core/io.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/io/model_folder.h"
#include "core/io/sha256.h"
#include "core/nn/unet2d.h"

namespace denoise {

struct Weights {
  StateDict tensors;  // float32
  std::string file;   // where they are described, relative to the model's folder
};

// The weights of the component whose files begin with `prefix` ("unet/", or "" in the root), as
// float32 copies: nothing refers to the files afterwards. Adds every file to `hash`.
//
// Takes the first there is of diffusion_pytorch_model.safetensors.index.json (with the shards it
// names), diffusion_pytorch_model.safetensors and diffusion_pytorch_model.fp16.safetensors. Shards
// are plain names of files in the same folder, and hold exactly the tensors the index says. Pickled
// weights (.bin) are never read.
absl::StatusOr<Weights> LoadWeights(const ModelFolder& folder, const std::string& prefix,
                                    Sha256& hash);

}  // namespace denoise
