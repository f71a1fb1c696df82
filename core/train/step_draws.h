// What is random in the rows of a step, apart from the pictures.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace denoise {

// Rows [first, first + shape[0]) of the noise of `step`: standard normal, float32, on the CPU. Each
// row has a generator of its own, so that it does not depend on how the step is cut into network
// calls.
at::Tensor DrawNoise(uint64_t seed, int64_t step, int64_t first, at::IntArrayRef shape);

// `labels`, [B] int64 on the CPU, of rows from `first` on: each is replaced by `null_label` with
// probability `dropout` (Ho & Salimans 2021, algorithm 1).
at::Tensor DropLabels(uint64_t seed, int64_t step, int64_t first, const at::Tensor& labels,
                      double dropout, int64_t null_label);

}  // namespace denoise
