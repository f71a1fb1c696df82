#include "core/train/optimizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <numbers>

namespace denoise {
namespace {

TEST(Gradients, AddUpOverBackwardPasses) {
  const StateDict weights = MakeTrainable({{"a", at::ones({2})}, {"b", at::ones({3})}}, at::kCPU);
  (weights.at("a") * 2).sum().backward();
  (weights.at("a") * 3).sum().backward();
  const StateDict gradients = GradientsOf(weights);
  EXPECT_TRUE(at::allclose(gradients.at("a"), at::full({2}, 5.0F)));
  EXPECT_EQ(gradients.size(), 1u);  // none of them reached b
  ZeroInPlace(gradients);
  EXPECT_EQ(weights.at("a").grad().sum().item<float>(), 0);
}

TEST(Gradients, TrainableWeightsAreNotThoseTheyWereMadeOf) {
  const at::Tensor source = at::ones({2});
  const StateDict weights = MakeTrainable({{"a", source}}, at::kCPU);
  weights.at("a").detach().fill_(7);
  EXPECT_EQ(source.sum().item<float>(), 2);
  EXPECT_FALSE(source.requires_grad());
}

TEST(Gradients, NormIsOfAllOfThemTogether) {
  const StateDict gradients = {{"a", at::full({2, 2}, 3.0F)}, {"b", at::full({7}, -1.0F)}};
  EXPECT_NEAR(GlobalNorm(gradients).item<double>(), std::sqrt(4 * 9 + 7), 1e-6);
  ScaleInPlace(gradients, 0.5);
  EXPECT_NEAR(GlobalNorm(gradients).item<double>(), std::sqrt(4 * 9 + 7) / 2, 1e-6);
}

TEST(Gradients, NormShowsASingleElementThatIsNotFinite) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    const StateDict gradients = {{"a", at::ones({2})}, {"b", at::ones({100})}};
    gradients.at("b")[57] = value;
    EXPECT_FALSE(std::isfinite(GlobalNorm(gradients).item<double>()));
  }
}

TEST(LearningRate, RisesAlongALineAndStays) {
  const OptimizerOptions options = {.learning_rate = 0.2, .warmup_steps = 4};
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 100, 1), 0.05);
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 100, 3), 0.15);
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 100, 4), 0.2);
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 100, 5), 0.2);
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 100, 100), 0.2);
}

TEST(LearningRate, FallsAlongALineToZeroAfterTheLastStep) {
  const OptimizerOptions options = {
      .learning_rate = 1, .warmup_steps = 2, .decay = LearningRateDecay::kLinear};
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 12, 2), 1);
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 12, 3), 1);
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 12, 8), 0.5);
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 12, 12), 0.1);
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 12, 13), 0);
}

TEST(LearningRate, FallsAlongHalfACosine) {
  const OptimizerOptions options = {.learning_rate = 1, .decay = LearningRateDecay::kCosine};
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 100, 1), 1);
  EXPECT_NEAR(LearningRateAt(options, 100, 26), (1 + std::numbers::sqrt2 / 2) / 2, 1e-12);
  EXPECT_NEAR(LearningRateAt(options, 100, 51), 0.5, 1e-12);
  EXPECT_GT(LearningRateAt(options, 100, 100), 0);
  EXPECT_NEAR(LearningRateAt(options, 100, 101), 0, 1e-12);
}

TEST(LearningRate, MayRiseToTheEnd) {
  const OptimizerOptions options = {
      .learning_rate = 1, .warmup_steps = 20, .decay = LearningRateDecay::kCosine};
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 10, 10), 0.5);
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 20, 20), 1);
}

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

TEST(AdamW, MatchesLibTorch) { ExpectStepsAsLibTorch({.learning_rate = 0.01}); }

TEST(AdamW, DecaysWeightsLikeLibTorch) {
  ExpectStepsAsLibTorch({.learning_rate = 0.01,
                         .beta1 = 0.8,
                         .beta2 = 0.95,
                         .epsilon = 1e-3,
                         .weight_decay = 0.3,
                         .warmup_steps = 5,
                         .decay = LearningRateDecay::kCosine});
}

TEST(AdamW, WeightsWithoutGradientsDoNotChange) {
  StateDict weights = {{"a", at::ones({2})}, {"b", at::ones({2})}};
  AdamMoments moments = ZeroMoments(weights);
  StepAdamW({.weight_decay = 0.5}, 0.1, 1, {{"a", at::zeros({2})}}, weights, moments);
  EXPECT_TRUE(at::allclose(weights["a"], at::full({2}, 1 - 0.1 * 0.5)));
  EXPECT_TRUE(at::equal(weights["b"], at::ones({2})));
}

TEST(Ema, DecaysFasterAtTheStart) {
  EXPECT_DOUBLE_EQ(EmaDecayAt(0.999, 0), 1.0 / 10);
  EXPECT_DOUBLE_EQ(EmaDecayAt(0.999, 9), 10.0 / 19);
  EXPECT_DOUBLE_EQ(EmaDecayAt(0.9, 79), 80.0 / 89);
  EXPECT_DOUBLE_EQ(EmaDecayAt(0.9, 80), 0.9);  // 81 / 90
  EXPECT_DOUBLE_EQ(EmaDecayAt(0.9, 1000000), 0.9);
}

// Weights 1, 2, 3 ...: the average is the sum of each times what later decays have left of it.
TEST(Ema, IsTheSumOfAllWeightsTimesTheirRemainingDecay) {
  constexpr double kDecay = 0.6;
  constexpr int kUpdates = 30;
  StateDict average = {{"w", at::full({2}, 5.0F)}};
  for (int n = 0; n < kUpdates; ++n) {
    UpdateEma(kDecay, n, {{"w", at::full({2}, n + 1.0F)}}, average);
  }
  double expected = 0, left = 1;
  for (int n = kUpdates - 1; n >= 0; --n) {
    expected += left * (1 - EmaDecayAt(kDecay, n)) * (n + 1);
    left *= EmaDecayAt(kDecay, n);
  }
  expected += left * 5;
  EXPECT_NEAR(average["w"][0].item<double>(), expected, 1e-5);
  EXPECT_NEAR(average["w"][1].item<double>(), expected, 1e-5);
}

TEST(Ema, OfConstantWeightsIsExact) {
  const StateDict weights = {{"w", at::randn({1000})}};
  StateDict average = {{"w", weights.at("w").clone()}};
  for (int n = 0; n < 100; ++n) UpdateEma(0.999, n, weights, average);
  EXPECT_TRUE(at::equal(average["w"], weights.at("w")));
}

// Once warm, an average of constant weights c that began at b is c + (b - c) decay^n.
TEST(Ema, ConvergesExponentiallyToConstantWeights) {
  StateDict average = {{"w", at::full({1}, 1.0F)}};
  for (int n = 0; n < 20; ++n) UpdateEma(0.9, 1000 + n, {{"w", at::full({1}, 3.0F)}}, average);
  EXPECT_NEAR(average["w"].item<double>(), 3 - 2 * std::pow(0.9, 20), 1e-5);
}

TEST(LossScaler, HalvesWhereGradientsAreNotFinite) {
  LossScaler scaler(TrainingPrecision::kFloat16);
  EXPECT_EQ(scaler.scale(), 65536);
  scaler.Update(false);
  scaler.Update(false);
  EXPECT_EQ(scaler.scale(), 16384);
}

TEST(LossScaler, DoublesAfterTwoThousandFiniteStepsInARow) {
  LossScaler scaler(TrainingPrecision::kFloat16);
  for (int step = 0; step < 1999; ++step) scaler.Update(true);
  EXPECT_EQ(scaler.scale(), 65536);
  scaler.Update(false);
  for (int step = 0; step < 1999; ++step) scaler.Update(true);
  EXPECT_EQ(scaler.scale(), 32768);
  scaler.Update(true);
  EXPECT_EQ(scaler.scale(), 65536);
  EXPECT_EQ(scaler.state().finite_steps, 0);
}

TEST(LossScaler, ResumesFromItsState) {
  LossScaler first(TrainingPrecision::kFloat16), second(TrainingPrecision::kFloat16);
  first.Update(false);
  for (int step = 0; step < 1500; ++step) first.Update(true);
  second.SetState(first.state());
  for (int step = 0; step < 500; ++step) second.Update(true);
  EXPECT_EQ(second.scale(), 65536);
}

// More finite steps than it counts come from a checkpoint of a scaler that doubles later.
TEST(LossScaler, DoublesAtOnceIfItsStateCountsMoreStepsThanItTakes) {
  for (int64_t steps : {int64_t{2000}, std::numeric_limits<int64_t>::max()}) {
    LossScaler scaler(TrainingPrecision::kFloat16);
    scaler.SetState({.scale = 1024, .finite_steps = steps});
    scaler.Update(true);
    EXPECT_EQ(scaler.state(), (LossScaler::State{.scale = 2048, .finite_steps = 0}));
  }
}

TEST(LossScaler, DoesNotScalePrecisionsWithTheRangeOfFloat32) {
  for (const auto precision : {TrainingPrecision::kFloat32, TrainingPrecision::kBFloat16}) {
    LossScaler scaler(precision);
    scaler.Update(false);
    for (int step = 0; step < 3000; ++step) scaler.Update(true);
    EXPECT_EQ(scaler.scale(), 1);
  }
}

}  // namespace
}  // namespace denoise
