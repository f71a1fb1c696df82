// The weights of a component, in one file or in shards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "core/io/model_folder.h"
#include "core/io/safetensors.h"
#include "core/nn/state_dict.h"
#include "core/nn/stored_tensor.h"

namespace denoise {

// Where WriteModel puts the weights.
inline constexpr char kWeightsFile[] = "unet/diffusion_pytorch_model.safetensors";

// Immutable and thread-safe.
struct Weights {
  StoredTensors tensors;  // read from the files when they are taken
  // Where they are described, relative to the model's folder.
  std::string file = kWeightsFile;
  std::map<std::string, SafetensorsFile> files;  // the files of the tensors, by name
};

// Opens the weights of the component whose files begin with `prefix` ("unet/", or "" in the root)
// and `stem` ("diffusion_pytorch_model"). A file of more than `bytes_max` is refused unread.
//
// Uses the first that exists of STEM.safetensors.index.json (with the shards it names),
// STEM.safetensors, STEM.safetensors.index.fp16.json and STEM.fp16.safetensors. Shards are files in
// the same folder and hold exactly the tensors that the index lists. Pickled weights
// (.bin) are never read. First parts that all names have in common ("module.") are removed.
absl::StatusOr<Weights> OpenWeights(const ModelFolder& folder, const std::string& prefix,
                                    const std::string& stem = "diffusion_pytorch_model",
                                    size_t bytes_max = std::numeric_limits<size_t>::max());

// The most that a file of the weights of a network with `parameters` numbers can have: each in the
// widest type, the names, and as much again for what the network does not use.
size_t MaxWeightsBytes(int64_t parameters);

// InvalidArgument names the tensors with values that are not finite in float32, up to 20.
absl::Status CheckFinite(const StateDict& tensors);

}  // namespace denoise
