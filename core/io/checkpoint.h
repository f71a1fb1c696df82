// A checkpoint folder in the diffusers layout: model_index.json, a scheduler and a unet, in folders
// or in the root.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/io/parsed_model.h"
#include "core/nn/network.h"
#include "core/nn/unet2d.h"

namespace denoise {

struct Checkpoint : ModelDescription {
  std::shared_ptr<const Network> network;  // on the CPU, float32
  std::string version;                     // a hash of configurations and weights, hexadecimal
};

// Every file in `folder` is hostile. Errors name the file relative to `folder` and what is wrong
// with it, never the path of `folder` itself. NotFound: no such folder or file. InvalidArgument:
// anything malformed, not supported, or at odds with another file (labels and classes, learned
// variance and channels, timesteps), or weights that are not finite; tensors are named.
//
// Weights are diffusion_pytorch_model.safetensors, the shards of its .index.json, or the .fp16
// variant. The network keeps copies, so files may change or disappear afterwards. Symbolic links
// are followed, because caches of downloaded models and mounted volumes consist of them; only
// regular files are read, and messages never quote them.
absl::StatusOr<Checkpoint> LoadCheckpoint(const std::filesystem::path& folder,
                                          const UNet2DOptions& options);

// The network of a model that was opened.
absl::StatusOr<std::shared_ptr<const Network>> LoadNetwork(const ParsedModel& model,
                                                           const UNet2DOptions& options);

// Checkpoint::version of a model that was opened. Reads every byte of it.
std::string VersionOf(const ParsedModel& model);

}  // namespace denoise
