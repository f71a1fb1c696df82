#include "core/train/ema.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_sub.h>

#include <algorithm>

#include "core/train/tensor_list.h"

namespace denoise {

double EmaDecayAt(double decay, int64_t n) {
  const double updates = static_cast<double>(n);
  return std::min(decay, (1 + updates) / (10 + updates));
}

// By the difference, so that an average of weights that never change is exact.
void UpdateEma(double decay, int64_t n, const StateDict& weights, StateDict& average) {
  const std::vector<at::Tensor> averages = TensorList(average);
  const std::vector<at::Tensor> differences = at::_foreach_sub(TensorList(weights), averages);
  at::_foreach_add_(averages, differences, 1 - EmaDecayAt(decay, n));
}

}  // namespace denoise
