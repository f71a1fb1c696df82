// Kernels for tokens, float32 on the CPU, without gradients. Batch-invariant like those of
// cpu_kernels.h: the result for a token depends on that token alone.
#pragma once

#include <ATen/core/Tensor.h>

namespace denoise::nn::cpu {

// (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension of x [..., channels].
at::Tensor LayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     double eps);

// a * GELU(b) for the halves [a, b] of the last dimension of x, with the exact GELU to 3e-7.
at::Tensor GatedGelu(const at::Tensor& x);

}  // namespace denoise::nn::cpu
