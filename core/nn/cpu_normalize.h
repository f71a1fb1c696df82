// Group normalisation on the CPU, forward and backward, fused with the operations around it.
//
// Batch-invariant like the kernels of cpu_kernels.h: a row's results depend only on that row. Sums
// over rows are taken in order, whatever the number of threads.
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
  at::Tensor y;        // like x, in channels-last order
  at::Tensor moments;  // [B, groups, 2] float32: mean and 1 / deviation of x + shift_before
};

// GroupNorm(x + shift_before) * (1 + scale) + shift, followed by SiLU if `silu`.
Normalized Normalize(NormalizeArgs args);

// Gradients of a loss with respect to the arguments.
struct NormalizeGradients {
  at::Tensor x;       // like x, in channels-last order
  at::Tensor weight;  // [C] float32, like all below
  at::Tensor bias;
  at::Tensor shift_before;  // [B, C] if that argument is defined, like those below
  at::Tensor scale;
  at::Tensor shift;
};
// `grad_y` is the gradient with respect to y. Requires contiguous [B, C] tensors in `args`.
NormalizeGradients NormalizeBackward(const NormalizeArgs& args, const at::Tensor& moments,
                                     const at::Tensor& grad_y);

// A differentiable Normalize(args).y. The tensors of `args` may be float32 or bfloat16, and all of
// them receive gradients. There are no second derivatives.
at::Tensor DifferentiableNormalize(const NormalizeArgs& args);

}  // namespace denoise::nn::cpu
