// Self-attention over the pixels of an image (Ho et al. 2020; heads as in Nichol & Dhariwal 2021).
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "core/nn/layers.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

// The projections are 1x1 convolutions of [B, C, H, W], so pixels need no transposing, and they are
// batch-invariant like all convolutions (layers.h).
struct Attention {
  std::optional<GroupNorm> norm;
  Conv2d query_key_value;  // one convolution to 3 C channels
  Conv2d output;
  int64_t heads = 1;
  double output_scale_factor = 1;  // the residual sum is divided by it

  struct Shape {
    int64_t channels;
    int64_t heads;
    std::optional<int64_t> norm_groups;  // nullopt: no norm
    double norm_eps;
    double output_scale_factor = 1;
  };
  // Accepts both the names to_q, to_k, to_v, to_out.0 and the older query, key, value, proj_attn.
  static Attention Load(const WeightScope& scope, const Shape& shape, KernelOptions options);

  // x [B, C, H, W] -> the same shape.
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  // softmax(q k^T / sqrt(head_dim)) v for q, k and v of [B, 3 C, H, W] -> [B, C, H, W].
  at::Tensor Attend(const at::Tensor& projected) const;
};

}  // namespace denoise::nn
