// The residual block of Ho et al. 2020, with the resampling and scale-shift norm of Nichol &
// Dhariwal 2021.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "core/nn/layers.h"
#include "core/nn/unet_choices.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

enum class Resample { kNone, kDown, kUp };

// What all resnet blocks of a network have in common.
struct ResnetStyle {
  int64_t embedding_dim;
  int64_t norm_groups;
  double norm_eps;
  Activation activation = Activation::kSilu;
  TimeShift time_shift = TimeShift::kDefault;
};

struct ResnetBlock {
  GroupNorm norm1;
  Conv2d conv1;
  Linear time_projection;
  GroupNorm norm2;
  Conv2d conv2;
  std::optional<Conv2d> shortcut;  // if the number of channels changes
  Resample resample = Resample::kNone;
  TimeShift time_shift = TimeShift::kDefault;
  Activation activation = Activation::kSilu;
  double output_scale_factor = 1;  // the sum is divided by it

  struct Shape {
    int64_t in;
    int64_t out;
    Resample resample = Resample::kNone;
    double output_scale_factor = 1;
  };
  static ResnetBlock Load(const WeightScope& scope, const ResnetStyle& style, const Shape& shape,
                          KernelOptions options);

  // x [B, in, H, W], activated_embedding [B, embedding_dim] -> [B, out, H', W']. All blocks
  // share the embedding after `activation`.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& activated_embedding,
                        const RowAdapters& adapters = {}) const;
};

}  // namespace denoise::nn
