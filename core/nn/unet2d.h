// UNet2D, weight-compatible with diffusers' UNet2DModel (Ho et al. 2020; Nichol & Dhariwal 2021).
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/nn/network.h"
#include "core/nn/state_dict.h"
#include "core/nn/unet2d_config.h"

namespace denoise {

struct UNet2DOptions {
  // On CPU, choose kernels whose result for a row does not depend on the batch around it.
  bool batch_invariant = true;
  // On CPU, normalise in one pass of our own; without, by LibTorch's operators, to compare with.
  bool fuse_normalization = true;
};

// Builds the network on the CPU in float32 from weights of any floating dtype, on the CPU.
// InvalidArgument lists missing, unexpected and misshapen tensors by name. Both new (to_q ...) and
// old (query ...) attention names are known.
absl::StatusOr<std::shared_ptr<const Network>> CreateUNet2D(const UNet2DConfig& config,
                                                            const StateDict& weights,
                                                            const UNet2DOptions& options);

// A network made of `parameters`, to train them: where gradients are enabled, Forward is
// differentiable down to each of them but Fourier time features, which are never trained. It lives
// on their device and computes in `dtype`; float32 leaves and a `dtype` of less make mixed
// precision, whose gradients arrive in float32.
//
// It shares what it need not convert: binding takes less than a hundredth of the time of a call
// forth and back, and is done again for every call. Afterwards parameters may be changed in place,
// but not between Forward and the backward pass. They are no tensors made under c10::InferenceMode.
// On the CPU gradients repeat themselves bit for bit with as many threads; training has no use for
// `options.batch_invariant`, and takes a fifth longer with it.
//
// Throws c10::Error where `parameters` are not those that InitializeUNet2D or
// CanonicalUNet2DWeights give for `config`.
std::shared_ptr<const Network> BindUNet2D(const UNet2DConfig& config, const StateDict& parameters,
                                          at::ScalarType dtype, const UNet2DOptions& options);

// Whether BindUNet2D trains the network as the library would. InvalidArgument names `dropout` where
// it is above 0: a network has no source of randomness here, and to leave it out would be another
// training without a word.
absl::Status CheckTrainable(const UNet2DConfig& config);

// `weights`, which CreateUNet2D takes, as float32 on the CPU, under the names and in the shapes of
// today, in storage of their own. Errors as CreateUNet2D's.
absl::StatusOr<StateDict> CanonicalUNet2DWeights(const UNet2DConfig& config,
                                                 const StateDict& weights);

// Weights of a new network, initialised as PyTorch initialises its layers: convolutions and linear
// layers, with their biases, uniform within 1 / sqrt(fan in), norms 1 and 0, tables standard
// normal, Fourier features normal with deviation 16. Drawn from one CPU generator in the order of
// their names: a seed gives the same weights everywhere.
StateDict InitializeUNet2D(const UNet2DConfig& config, uint64_t seed);

// The size of those, without making them.
int64_t CountUNet2DParameters(const UNet2DConfig& config);

}  // namespace denoise
