// Batch invariance by construction.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include <vector>

namespace denoise::nn {

// Applies `f` to every row of x [B, ...] by itself: what a row becomes cannot depend on the others.
template <typename Function>
at::Tensor RowWise(const at::Tensor& x, const Function& f) {
  const int64_t rows = x.size(0);
  if (rows == 1) return f(x);
  std::vector<at::Tensor> results;
  results.reserve(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i) results.push_back(f(x.narrow(0, i, 1)));
  return at::cat(results);
}

}  // namespace denoise::nn
