#include "core/train/optimizer.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/_foreach_zero.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "core/base/check.h"
#include "core/train/tensor_list.h"

namespace denoise {
namespace {

constexpr double kInitialLossScale = 65536;
constexpr int64_t kStepsToDoubleLossScale = 2000;

// The part of the learning rate that is left at `progress` in [0, 1).
double Remaining(LearningRateDecay decay, double progress) {
  switch (decay) {
    case LearningRateDecay::kConstant:
      return 1;
    case LearningRateDecay::kCosine:
      return (1 + std::cos(std::numbers::pi * progress)) / 2;
    case LearningRateDecay::kLinear:
      return 1 - progress;
  }
  return 1;
}

// LibTorch refuses factors beyond float32, as if the device had failed. A rate that makes them
// makes weights that training reports as what they are.
double InFloat32(double factor) {
  constexpr double kMax = std::numeric_limits<float>::max();
  return std::clamp(factor, -kMax, kMax);
}

}  // namespace

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

double LearningRateAt(const OptimizerOptions& options, int64_t max_steps, int64_t step) {
  DENOISE_DCHECK(step >= 1);
  const int64_t warmup = options.warmup_steps;
  if (step <= warmup) {
    return options.learning_rate * static_cast<double>(step) / static_cast<double>(warmup);
  }
  const double progress =
      static_cast<double>(step - 1 - warmup) / static_cast<double>(max_steps - warmup);
  return options.learning_rate * Remaining(options.decay, progress);
}

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
    at::_foreach_mul_(w, InFloat32(1 - learning_rate * options.weight_decay));
  }
  at::_foreach_addcdiv_(w, m, denominators, InFloat32(-learning_rate / m_correction));
}

double EmaDecayAt(double decay, int64_t n) {
  const double updates = static_cast<double>(n);
  return std::min(decay, (1 + updates) / (10 + updates));
}

// Adds the difference, so that the average of constant weights is exact.
void UpdateEma(double decay, int64_t n, const StateDict& weights, StateDict& average) {
  const std::vector<at::Tensor> averages = TensorList(average);
  const std::vector<at::Tensor> differences = at::_foreach_sub(TensorList(weights), averages);
  at::_foreach_add_(averages, differences, 1 - EmaDecayAt(decay, n));
}

LossScaler::LossScaler(TrainingPrecision precision)
    : dynamic_(precision == TrainingPrecision::kFloat16) {
  if (dynamic_) state_.scale = kInitialLossScale;
}

void LossScaler::Update(bool finite) {
  if (!dynamic_) return;
  if (!finite) {
    state_ = {.scale = state_.scale / 2, .finite_steps = 0};
  } else if (state_.finite_steps >= kStepsToDoubleLossScale - 1) {  // a checkpoint may have any
    state_ = {.scale = state_.scale * 2, .finite_steps = 0};
  } else {
    ++state_.finite_steps;
  }
}

}  // namespace denoise
