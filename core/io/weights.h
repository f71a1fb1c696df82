// A component's weights, in one file or in shards. Internal to core/io.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "core/io/model_folder.h"
#include "core/io/safetensors.h"
#include "core/nn/state_dict.h"

namespace denoise {

// Where WriteModel puts the weights.
inline constexpr char kWeightsFile[] = "unet/diffusion_pytorch_model.safetensors";

// Immutable and thread-safe.
struct Weights {
  StateDict tensors;  // views of the mapped files, which they keep alive: not to be written to
  // Where they are described, relative to the model's folder.
  std::string file = kWeightsFile;
  std::map<std::string, SafetensorsFile> files;  // all that hold tensors, by their names
};

// The weights of the component whose files begin with `prefix` ("unet/", or "" in the root). Reads
// headers only; the data is read by whoever looks at a tensor.
//
// Takes the first there is of diffusion_pytorch_model.safetensors.index.json (with the shards it
// names), diffusion_pytorch_model.safetensors and diffusion_pytorch_model.fp16.safetensors. Shards
// are plain names of files in the same folder, and hold exactly the tensors the index says. Pickled
// weights (.bin) are never read.
absl::StatusOr<Weights> LoadWeights(const ModelFolder& folder, const std::string& prefix);

}  // namespace denoise
