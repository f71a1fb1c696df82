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
// variant. The network keeps copies, so files may change or disappear afterwards; Aborted: they
// were written to while they were read. Symbolic links
// are followed, because caches of downloaded models and mounted volumes consist of them; only
// regular files are read, and messages never quote them.
absl::StatusOr<Checkpoint> LoadCheckpoint(const std::filesystem::path& folder,
                                          const UNet2DOptions& options);

// The network of a model that was opened, read straight to `placement`. Throws c10::Error if there
// is no such device or it is out of memory.
absl::StatusOr<std::shared_ptr<const Network>> LoadNetwork(const ParsedModel& model,
                                                           const UNet2DOptions& options,
                                                           const Placement& placement = {});

// Checkpoint::version of a model that was opened. Reads every byte of its files. Errors name the
// file that cannot be read.
absl::StatusOr<std::string> VersionOf(const ParsedModel& model);

}  // namespace denoise
