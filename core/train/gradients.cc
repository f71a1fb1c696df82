#include "core/train/gradients.h"

#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_zero.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/train/tensor_list.h"

namespace denoise {

StateDict MakeTrainable(const StateDict& weights, at::Device device) {
  return MapTensors(weights, [device](const at::Tensor& weight) {
    at::Tensor leaf =
        weight.detach().to(at::TensorOptions().device(device).dtype(at::kFloat),
                           /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous);
    leaf.mutable_grad() = at::zeros_like(leaf);
    leaf.set_requires_grad(true);
    return leaf;
  });
}

std::vector<at::Tensor> GradientsOf(const StateDict& weights) {
  std::vector<at::Tensor> gradients;
  gradients.reserve(weights.size());
  for (const auto& [name, weight] : weights) gradients.push_back(weight.grad());
  return gradients;
}

at::Tensor GlobalNorm(const std::vector<at::Tensor>& gradients) {
  if (gradients.empty()) return at::zeros({}, at::kFloat);
  return at::stack(at::_foreach_norm(gradients)).norm();
}

void ScaleInPlace(const std::vector<at::Tensor>& gradients, double factor) {
  if (!gradients.empty()) at::_foreach_mul_(gradients, factor);
}

void ZeroInPlace(const std::vector<at::Tensor>& gradients) {
  if (!gradients.empty()) at::_foreach_zero_(gradients);
}

}  // namespace denoise
