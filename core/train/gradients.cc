#include "core/train/gradients.h"

#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_zero.h>
#include <ATen/ops/stack.h>

#include "core/base/check.h"
#include "core/train/tensor_list.h"

namespace denoise {

StateDict MakeTrainable(const StateDict& weights, at::Device device) {
  return MapTensors(weights, [device](const at::Tensor& weight) {
    return weight.detach()
        .to(at::TensorOptions().device(device).dtype(at::kFloat), /*non_blocking=*/false,
            /*copy=*/true, at::MemoryFormat::Contiguous)
        .set_requires_grad(true);
  });
}

StateDict GradientsOf(const StateDict& weights) {
  StateDict gradients;
  for (const auto& [name, weight] : weights) {
    if (weight.grad().defined()) gradients.emplace_hint(gradients.end(), name, weight.grad());
  }
  return gradients;
}

at::Tensor GlobalNorm(const StateDict& gradients) {
  DENOISE_DCHECK(!gradients.empty());
  return at::stack(at::_foreach_norm(TensorList(gradients))).norm();
}

void ScaleInPlace(const StateDict& gradients, double factor) {
  at::_foreach_mul_(TensorList(gradients), factor);
}

void ZeroInPlace(const StateDict& gradients) {
  if (!gradients.empty()) at::_foreach_zero_(TensorList(gradients));
}

}  // namespace denoise
