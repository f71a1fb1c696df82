// Our own kernels for float32 inference on the CPU: linear layers of few rows, and SiLU; group
// normalisation is in cpu_normalize.h.
//
// They take a quarter to three quarters of the time of the operators they replace, which pass over
// memory more often. And they are batch-invariant: an element's value depends only on its row, not
// on the batch, the number of threads or the place in memory. Sums run over fixed pieces of a row
// in a fixed order. Every element goes through the same IEEE operations, without fused
// multiply-adds, whether it is in the body or the tail of a vectorised loop.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>

namespace denoise::nn::cpu {

// Whether these kernels can replace the operators on `tensors` (ignoring undefined ones): all are
// float32 on the CPU, and none needs a gradient.
bool Serves(std::initializer_list<at::Tensor> tensors);

// Whether all are float32 or bfloat16 on the CPU, and some need a gradient.
bool Trains(std::initializer_list<at::Tensor> tensors);

// x W + b for x [B, in]. Requires a contiguous weight [in, out].
at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// x / (1 + exp(-x)), to 2 units in the last place.
at::Tensor Silu(const at::Tensor& x);

}  // namespace denoise::nn::cpu
