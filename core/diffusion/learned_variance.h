// What the second half of a network's channels says of the variance.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

namespace denoise {

// The log variance that `v` blends, per element, from two bounds (Nichol & Dhariwal 2021, eq. 15):
// the least at -1, the most at 1.
template <class Bound>
at::Tensor LearnedRangeLogVariance(const at::Tensor& v, const Bound& log_min,
                                   const Bound& log_max) {
  const at::Tensor fraction = (v + 1) / 2;
  return fraction * log_max + (1 - fraction) * log_min;
}

}  // namespace denoise
