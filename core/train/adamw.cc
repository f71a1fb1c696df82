#include "core/train/adamw.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "core/base/check.h"
#include "core/train/tensor_list.h"

namespace denoise {

AdamMoments ZeroMoments(const StateDict& weights) {
  const auto zeros = [](const at::Tensor& tensor) { return at::zeros_like(tensor.detach()); };
  return {.m = MapTensors(weights, zeros), .v = MapTensors(weights, zeros)};
}

void StepAdamW(const OptimizerOptions& options, double learning_rate, int64_t t,
               const StateDict& gradients, StateDict& weights, AdamMoments& moments) {
  DENOISE_DCHECK(t >= 1);
  const std::vector<at::Tensor> g = TensorList(gradients), w = TensorList(weights, gradients),
                                m = TensorList(moments.m, gradients),
                                v = TensorList(moments.v, gradients);
  at::_foreach_mul_(m, options.beta1);
  at::_foreach_add_(m, g, 1 - options.beta1);
  at::_foreach_mul_(v, options.beta2);
  at::_foreach_addcmul_(v, g, g, 1 - options.beta2);

  const double step = static_cast<double>(t);
  const double m_correction = 1 - std::pow(options.beta1, step);
  const double v_correction = 1 - std::pow(options.beta2, step);
  const std::vector<at::Tensor> denominators = at::_foreach_sqrt(v);
  at::_foreach_div_(denominators, std::sqrt(v_correction));
  at::_foreach_add_(denominators, options.epsilon);
  if (options.weight_decay != 0) {
    at::_foreach_mul_(w, 1 - learning_rate * options.weight_decay);
  }
  at::_foreach_addcdiv_(w, m, denominators, -learning_rate / m_correction);
}

}  // namespace denoise
