// Group normalisation on the CPU with all that surrounds it in one pass, forth and back.
//
// Batch-invariant, as the kernels of cpu_kernels.h: a row's results depend on nothing but that row.
// Sums over rows are taken in their order, whatever the number of threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace denoise::nn::cpu {

struct NormalizeArgs {
  at::Tensor x;       // [B, C, H, W], float32 or bfloat16; all others float32
  at::Tensor weight;  // [C]
  at::Tensor bias;    // [C]
  int64_t groups;
  double eps;
  at::Tensor shift_before;  // [B, C] or undefined
  at::Tensor scale;         // [B, C] or undefined
  at::Tensor shift;         // [B, C] or undefined
  bool silu;
};

struct Normalized {
  at::Tensor y;        // as x, in channels-last order
  at::Tensor moments;  // [B, groups, 2] float32: of x + shift_before the mean and 1 / deviation
};

// GroupNorm(x + shift_before) * (1 + scale) + shift, then perhaps SiLU.
Normalized Normalize(NormalizeArgs args);

// Of a loss, by what its gradient by y is.
struct NormalizeGradients {
  at::Tensor x;       // as x, in channels-last order
  at::Tensor weight;  // [C] float32, as all below
  at::Tensor bias;
  at::Tensor shift_before;  // [B, C], where there is one; likewise those below
  at::Tensor scale;
  at::Tensor shift;
};
// The tensors of [B, C] are contiguous.
NormalizeGradients NormalizeBackward(const NormalizeArgs& args, const at::Tensor& moments,
                                     const at::Tensor& grad_y);

// Normalize(args).y through which gradients flow to all tensors of `args`, each of which may be
// float32 or bfloat16. They have no gradients in turn.
at::Tensor DifferentiableNormalize(const NormalizeArgs& args);

}  // namespace denoise::nn::cpu
