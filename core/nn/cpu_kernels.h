// Our own kernels for float32 inference on the CPU: linear layers of few rows, and SiLU; group
// normalisation is in cpu_normalize.h.
//
// They take a quarter to three quarters of the time of the operators they stand for, each of which
// walks the memory once more. And they are batch-invariant: an element's value depends on nothing
// but its row, whatever the batch, the number of threads and the place in memory. Sums run over
// fixed pieces of a row in a fixed order. Every element goes through the same IEEE operations,
// without fused multiply-adds, whether it lies in a vectorised loop's body or its tail.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>

namespace denoise::nn::cpu {

// Whether these kernels may stand in for the operators on `tensors` (undefined ones aside): all are
// float32 on the CPU, and no gradient is wanted of any.
bool Serves(std::initializer_list<at::Tensor> tensors);

// Whether all of them are float32 or bfloat16 on the CPU, and a gradient is wanted of some.
bool Trains(std::initializer_list<at::Tensor> tensors);

// x W + b of x [B, in], with weight [in, out] contiguous.
at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// x / (1 + exp(-x)), to 2 units in the last place.
at::Tensor Silu(const at::Tensor& x);

}  // namespace denoise::nn::cpu
