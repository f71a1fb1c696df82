#include "core/train/adamw.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "core/train/gradients.h"
#include "core/train/learning_rate.h"

namespace denoise {
namespace {

constexpr int kSteps = 20;

at::Tensor GradientOf(int step, at::IntArrayRef shape) {
  const torch::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(step));
  return torch::randn(shape, generator) * 0.1;
}

struct Weights {
  at::Tensor a = torch::linspace(-1, 1, 12).view({3, 4});
  at::Tensor b = torch::linspace(0, 2, 5);
};

// LibTorch's own optimiser, given the same gradients.
class Reference {
 public:
  explicit Reference(const OptimizerOptions& options)
      : a_(Weights().a.clone().requires_grad_()),
        b_(Weights().b.clone().requires_grad_()),
        optimizer_({a_, b_}, torch::optim::AdamWOptions(options.learning_rate)
                                 .betas({options.beta1, options.beta2})
                                 .eps(options.epsilon)
                                 .weight_decay(options.weight_decay)) {}

  void Step(int step, double learning_rate) {
    a_.mutable_grad() = GradientOf(step, {3, 4});
    b_.mutable_grad() = GradientOf(-step, {5});
    for (auto& group : optimizer_.param_groups()) {
      static_cast<torch::optim::AdamWOptions&>(group.options()).lr(learning_rate);
    }
    optimizer_.step();
  }

  const at::Tensor a_, b_;

 private:
  torch::optim::AdamW optimizer_;
};

void ExpectStepsAsLibTorch(const OptimizerOptions& options) {
  Reference reference(options);
  StateDict weights = {{"a", Weights().a.clone()}, {"b", Weights().b.clone()}};
  AdamMoments moments = ZeroMoments(weights);
  for (int step = 1; step <= kSteps; ++step) {
    const double learning_rate = LearningRateAt(options, kSteps, step);
    reference.Step(step, learning_rate);
    StepAdamW(options, learning_rate, step,
              {{"a", GradientOf(step, {3, 4})}, {"b", GradientOf(-step, {5})}}, weights, moments);
    EXPECT_TRUE(at::allclose(weights["a"], reference.a_, 1e-6, 1e-7)) << step;
    EXPECT_TRUE(at::allclose(weights["b"], reference.b_, 1e-6, 1e-7)) << step;
  }
}

TEST(AdamW, MovesAsThatOfLibTorch) { ExpectStepsAsLibTorch({.learning_rate = 0.01}); }

TEST(AdamW, DecaysWeightsAsThatOfLibTorch) {
  ExpectStepsAsLibTorch({.learning_rate = 0.01,
                         .beta1 = 0.8,
                         .beta2 = 0.95,
                         .epsilon = 1e-3,
                         .weight_decay = 0.3,
                         .warmup_steps = 5,
                         .decay = LearningRateDecay::kCosine});
}

TEST(AdamW, WeightsThatNoGradientReachesStay) {
  StateDict weights = {{"a", at::ones({2})}, {"b", at::ones({2})}};
  AdamMoments moments = ZeroMoments(weights);
  StepAdamW({.weight_decay = 0.5}, 0.1, 1, {{"a", at::zeros({2})}}, weights, moments);
  EXPECT_TRUE(at::allclose(weights["a"], at::full({2}, 1 - 0.1 * 0.5)));
  EXPECT_TRUE(at::equal(weights["b"], at::ones({2})));
}

}  // namespace
}  // namespace denoise
