// UNet2D, weight-compatible with diffusers' UNet2DModel (Ho et al. 2020; Nichol & Dhariwal 2021).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "core/nn/network.h"

namespace denoise {

// The config.json of a UNet2DModel. Keys that change nothing at inference (dropout) are accepted; keys and values that
// are not supported are refused by name.
struct UNet2DConfig;

// Weights by their names in the checkpoint.
using StateDict = std::map<std::string, at::Tensor>;

// `json` is hostile: any bytes are answered. InvalidArgument carries a field violation per wrong key.
absl::StatusOr<UNet2DConfig> ParseUNet2DConfig(std::string_view json);

struct UNet2DOptions {
  // On CPU, choose kernels whose result for a row does not depend on the batch around it.
  bool batch_invariant = true;
};

// Builds the network on the CPU in float32 from weights of any floating dtype, on the CPU. InvalidArgument lists
// missing, unexpected and misshapen tensors by name. Both new (to_q ...) and old (query ...) attention names are known.
absl::StatusOr<std::shared_ptr<const Network>> CreateUNet2D(const UNet2DConfig& config, const StateDict& weights,
                                                            const UNet2DOptions& options);

}  // namespace denoise
