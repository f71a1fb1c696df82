// UNet2D, weight-compatible with diffusers' UNet2DModel (Ho et al. 2020; Nichol & Dhariwal 2021).
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "core/nn/network.h"
#include "core/nn/state_dict.h"
#include "core/nn/unet2d_config.h"

namespace denoise {

struct UNet2DOptions {
  // On CPU, choose kernels whose result for a row does not depend on the batch around it.
  bool batch_invariant = true;
};

// Builds the network on the CPU in float32 from weights of any floating dtype, on the CPU.
// InvalidArgument lists missing, unexpected and misshapen tensors by name. Both new (to_q ...) and
// old (query ...) attention names are known.
absl::StatusOr<std::shared_ptr<const Network>> CreateUNet2D(const UNet2DConfig& config,
                                                            const StateDict& weights,
                                                            const UNet2DOptions& options);

}  // namespace denoise
