// A network small enough to train within a test: a few linear layers over all pixels and the time.
#pragma once

#include <cstdint>
#include <memory>

#include "core/nn/network.h"
#include "core/nn/state_dict.h"

namespace denoise {

struct MlpOptions {
  int64_t channels = 1;
  int64_t height = 1;
  int64_t width = 2;
  int64_t out_channels = 1;  // twice the channels if the variance is learned
  int64_t hidden = 64;
  int64_t num_class_embeds = 0;
  double timestep_min = 0;  // the range of its inputs
  double timestep_max = 999;
};

// Random weights, float32 on the CPU: "layers.I.weight", "layers.I.bias", "classes.weight". The
// last layer is zero, as is usual.
StateDict InitialMlpWeights(const MlpOptions& options, uint64_t seed);

// Makes a network of `parameters`, in `dtype`, such that gradients flow to them. The last bits of a
// row depend on the size of its batch.
std::shared_ptr<const Network> MakeMlp(const MlpOptions& options, const StateDict& parameters,
                                       at::ScalarType dtype = at::kFloat);

}  // namespace denoise
