// UNet2D, weight-compatible with diffusers' UNet2DModel (Ho et al. 2020; Nichol & Dhariwal 2021).
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/nn/network.h"
#include "core/nn/placement.h"
#include "core/nn/state_dict.h"
#include "core/nn/stored_tensor.h"
#include "core/nn/unet2d_config.h"
#include "core/nn/weight_initializer.h"

namespace denoise {

struct UNet2DOptions {
  // On the CPU, use kernels whose result for a row does not depend on the rest of the batch.
  bool batch_invariant = true;
  // On the CPU, use our own fused normalisation; false uses LibTorch's operators, for comparison.
  bool fuse_normalization = true;
};

// Builds the network at `placement`, from weights on the CPU or stored ones in any floating-point
// dtype. Each is converted as it is read, so that no second copy of all is ever in memory.
// InvalidArgument lists missing, unexpected and misshapen tensors by name, and stored ones that are
// not finite. Attention layers may have new (to_q ...) or old (query ...) names. Throws c10::Error
// if there is no such device or it is out of memory.
absl::StatusOr<std::shared_ptr<const Network>> CreateUNet2D(const UNet2DConfig& config,
                                                            const NamedTensors& weights,
                                                            const UNet2DOptions& options,
                                                            const Placement& placement = {});

// A network made of `parameters`, for training them: with gradients enabled, Forward is
// differentiable with respect to each of them, except Fourier time features, which are never
// trained. It is on their device and computes in `dtype`. With float32 parameters and a smaller
// `dtype` training is in mixed precision, with float32 gradients.
//
// Tensors that need no conversion are shared, so binding takes less than a hundredth of the time of
// a forward and backward pass; bind again for every call. Between calls parameters may be changed
// in place, but not between Forward and the backward pass. They must not have been made under
// c10::InferenceMode. On the CPU, gradients are the same bit for bit with the same number of
// threads. Training does not need `options.batch_invariant`, which makes it a fifth slower.
//
// Throws c10::Error unless `parameters` are those that InitializeUNet2D or CanonicalUNet2DWeights
// return for `config`.
std::shared_ptr<const Network> BindUNet2D(const UNet2DConfig& config, const StateDict& parameters,
                                          at::ScalarType dtype, const UNet2DOptions& options);

// Checks that BindUNet2D can train the network like the library does. InvalidArgument: `dropout` is
// above 0. Networks have no source of randomness here, and silently ignoring dropout would change
// the training.
absl::Status CheckTrainable(const UNet2DConfig& config);

// Copies `weights`, which may be anything that CreateUNet2D accepts, to float32 on the CPU, under
// their current names and in their current shapes. Errors are those of CreateUNet2D.
absl::StatusOr<StateDict> CanonicalUNet2DWeights(const UNet2DConfig& config,
                                                 const NamedTensors& weights);

// Weights of a new network, initialised like PyTorch's layers: convolutions and linear layers, with
// their biases, uniformly within 1 / sqrt(fan in); norms with 1 and 0; tables standard normal;
// Fourier features normal with deviation 16. All are drawn from one CPU generator in the order of
// their names, so a seed gives the same weights everywhere.
StateDict InitializeUNet2D(const UNet2DConfig& config, uint64_t seed);

// The same, to be made one at a time.
nn::WeightInitializer UNet2DInitializer(const UNet2DConfig& config);

// The number of these weights, without making them.
int64_t CountUNet2DParameters(const UNet2DConfig& config);

// The spec of such a network, without making it.
NetworkSpec NetworkSpecOf(const UNet2DConfig& config);

}  // namespace denoise
