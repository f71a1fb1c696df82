#include "core/train/ema.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>

#include <algorithm>

#include "core/train/tensor_list.h"

namespace denoise {

double EmaDecayAt(double decay, int64_t n) {
  const double updates = static_cast<double>(n);
  return std::min(decay, (1 + updates) / (10 + updates));
}

void UpdateEma(double decay, int64_t n, const StateDict& weights, StateDict& average) {
  if (weights.empty()) return;
  const double kept = EmaDecayAt(decay, n);
  const std::vector<at::Tensor> averages = TensorList(average);
  at::_foreach_mul_(averages, kept);
  at::_foreach_add_(averages, TensorList(weights), 1 - kept);
}

}  // namespace denoise
