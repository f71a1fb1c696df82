// Our own kernels for float32 inference on the CPU: group normalisation with all that surrounds it
// in one pass, and SiLU.
//
// They are several times quicker than the chain of operators they stand for, since each of those
// walks the memory once more. And they are batch-invariant: an element's value depends on nothing
// but its row, whatever the batch, the number of threads and the place in memory. Sums run over
// fixed pieces of a row in a fixed order. Every element goes through the same IEEE operations,
// without fused multiply-adds, whether it lies in a vectorised loop's body or its tail.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace denoise::nn::cpu {

// Whether these kernels may stand in for the operators: float32, on the CPU, no gradient wanted.
bool Serves(const at::Tensor& x, const at::Tensor& weight);

struct NormalizeArgs {
  at::Tensor x;       // [B, C, H, W]
  at::Tensor weight;  // [C]
  at::Tensor bias;    // [C]
  int64_t groups;
  double eps;
  at::Tensor shift_before;  // [B, C] or undefined
  at::Tensor scale;         // [B, C] or undefined
  at::Tensor shift;         // [B, C] or undefined
  bool silu;
};

// GroupNorm(x + shift_before) * (1 + scale) + shift, then perhaps SiLU. In channels-last order.
at::Tensor Normalize(NormalizeArgs args);

// x W + b of x [B, in], with weight [in, out] contiguous.
at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// x / (1 + exp(-x)), to 2 units in the last place.
at::Tensor Silu(const at::Tensor& x);

}  // namespace denoise::nn::cpu
