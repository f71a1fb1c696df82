// What a small network learns from the objectives, where the truth is known.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/diffusion/bits_per_dim.h"
#include "core/diffusion/noise_source.h"
#include "core/diffusion/sample.h"
#include "core/sampling/samplers/compile_plan.h"
#include "core/train/objective.h"
#include "core/train/timestep_sampler.h"
#include "tests/support/mlp_network.h"
#include "tests/support/toy_data.h"

namespace denoise {
namespace {

// Adam (Kingma & Ba 2015), as plain as it gets.
class Adam {
 public:
  void Step(StateDict& weights, double learning_rate) {
    const c10::NoGradGuard no_grad;
    ++steps_;
    for (auto& [name, weight] : weights) {
      const at::Tensor gradient = weight.grad();
      auto& [mean, square] = moments_[name];
      if (!mean.defined()) mean = square = at::zeros_like(weight);
      mean = 0.9 * mean + 0.1 * gradient;
      square = 0.99 * square + 0.01 * gradient * gradient;
      const double mean_bias = 1 - std::pow(0.9, steps_), square_bias = 1 - std::pow(0.99, steps_);
      weight.sub_(learning_rate * mean / mean_bias / ((square / square_bias).sqrt() + 1e-8));
      weight.mutable_grad().zero_();
    }
  }

 private:
  int steps_ = 0;
  std::map<std::string, std::pair<at::Tensor, at::Tensor>> moments_;
};

struct Toy {
  GaussianMixture data;
  SchedulerConfig scheduler;
  ObjectiveOptions objective;

  Schedule schedule() const { return *Schedule::Create(scheduler.schedule); }
};

constexpr int64_t kBatch = 256;
constexpr int kSteps = 1200;

// Pictures of 8 bits, as the bound counts them.
at::Tensor Pictures(const Toy& toy, int64_t count, at::Generator& generator) {
  return ToPixelValues(toy.data.Sample(count, generator));
}

std::shared_ptr<const Network> Train(const Toy& toy) {
  const Schedule schedule = toy.schedule();
  const bool learned = toy.scheduler.sampler.variance_type == VarianceType::kLearnedRange;
  const MlpOptions network = {.out_channels = learned ? 2 : 1,
                              .timestep_min = schedule.timestep_min(),
                              .timestep_max = schedule.timestep_max()};
  StateDict weights = InitialMlpWeights(network, 1);
  for (auto& [name, weight] : weights) weight.requires_grad_();
  const Objective objective =
      *Objective::Create(toy.scheduler, toy.objective, MakeMlp(network, weights)->spec());
  TimestepSampler timesteps(schedule, toy.objective);
  at::Generator generator = at::detail::createCPUGenerator(2);
  NoiseSource noise(3);
  Adam adam;
  for (int step = 0; step < kSteps; ++step) {
    const at::Tensor x0 = Pictures(toy, kBatch, generator);
    const SampledTimesteps sampled = timesteps.Sample(kBatch, generator);
    const Objective::Losses losses = objective.Evaluate(*MakeMlp(network, weights), {x0, {}},
                                                        sampled.timesteps, noise.Draw(x0.sizes()));
    (losses.loss * at::tensor(sampled.weights)).mean().backward();
    timesteps.Update(sampled.timesteps, losses.loss);
    const double left = 1 - static_cast<double>(step) / kSteps;
    adam.Step(weights, 3e-3 * std::min(1.0, 2 * left));
  }
  for (auto& [name, weight] : weights) weight = weight.detach();
  return MakeMlp(network, weights);
}

at::Tensor Draw(const Network& network, const Toy& toy, SamplerOptions options) {
  options.prediction_type = toy.scheduler.sampler.prediction_type;
  const auto plan = std::make_shared<const SamplerPlan>(*CompilePlan(toy.schedule(), options));
  std::vector<SampleRequest> requests;
  for (uint64_t i = 0; i < 1000; ++i) requests.push_back({.seed = 1000 + i, .conditioning = {}});
  return Sample(network, plan, requests);
}

// Both modes are there, in the right proportion and place, and as wide as they are. Four standard
// errors of a proportion of 1000 draws are 0.06.
void ExpectTwoModes(const at::Tensor& samples, const GaussianMixture& data) {
  const at::Tensor nearest = data.NearestPart(samples), flat = samples.view({-1, 2});
  for (size_t i = 0; i < data.parts().size(); ++i) {
    const GaussianMixture::Part& part = data.parts()[i];
    const at::Tensor members =
        flat.index_select(0, (nearest == static_cast<int64_t>(i)).nonzero().view({-1}));
    EXPECT_NEAR(static_cast<double>(members.size(0)) / 1000, part.weight, 0.06) << "part " << i;
    for (int64_t pixel = 0; pixel < 2; ++pixel) {
      const at::Tensor values = members.select(1, pixel);
      EXPECT_NEAR(values.mean().item<double>(), part.mean[static_cast<size_t>(pixel)], 0.06);
      EXPECT_NEAR(values.std().item<double>(), part.deviation, 0.05);
    }
  }
}

TEST(TrainingToys, HybridLossLearnsTheModesAndTheirEntropy) {
  Toy toy = {.data = TwoModes(), .scheduler = {}, .objective = {.loss = LossKind::kHybrid}};
  toy.scheduler.sampler.variance_type = VarianceType::kLearnedRange;
  const std::shared_ptr<const Network> network = Train(toy);
  ExpectTwoModes(Draw(*network, toy, {.sampler = SamplerKind::kDdim, .steps = 25}), toy.data);

  at::Generator generator = at::detail::createCPUGenerator(5);
  NoiseSource noise(6);
  const VariationalBound bound = *VariationalBound::Create(
      toy.schedule(), {.variance_type = VarianceType::kLearnedRange, .clip_x0 = true});
  BitsPerDimRun run(bound, Pictures(toy, 1024, generator), {},
                    [&](at::IntArrayRef shape) { return noise.Draw(shape); });
  while (!run.done()) run.Advance(*network);
  // The standard error of the mean over the pictures is 0.04; a uniform distribution has 8 bits.
  EXPECT_NEAR(run.Result().total.mean().item<double>(), toy.data.EntropyOfPixels(), 0.15);
}

TEST(TrainingToys, EdmLearnsTheModes) {
  Toy toy = {.data = TwoModes(),
             .scheduler = {},
             .objective = {.timestep_sampling = TimestepSampling::kLogNormal}};
  toy.scheduler.schedule = EdmOptions();
  const SamplerOptions sampler = {
      .sampler = SamplerKind::kHeun, .steps = 12, .sigma_spacing = SigmaSpacing::kKarras};
  ExpectTwoModes(Draw(*Train(toy), toy, sampler), toy.data);
}

TEST(TrainingToys, FlowMatchingLearnsTheMoons) {
  Toy toy = {.data = TwoMoons(), .scheduler = {}, .objective = {}};
  toy.scheduler.schedule = FlowOptions();
  toy.scheduler.sampler.prediction_type = PredictionType::kFlowPrediction;
  const at::Tensor samples =
      Draw(*Train(toy), toy,
           {.sampler = SamplerKind::kEuler, .steps = 25, .sigma_spacing = SigmaSpacing::kFlow});
  at::Generator generator = at::detail::createCPUGenerator(5);
  const at::Tensor real = Pictures(toy, 1000, generator);
  const auto log_density = [&](const at::Tensor& x) {
    return toy.data.LogDensity(x).mean().item<double>();
  };
  EXPECT_GT(log_density(samples), log_density(real) - 0.3);
  // Nothing is left out: each quarter of a moon has an eighth of all.
  const at::Tensor quarters = toy.data.NearestPart(samples).floor_divide(4).bincount({}, 8);
  EXPECT_GT(quarters.min().item<double>(), 125 - 50);
  EXPECT_LT(quarters.max().item<double>(), 125 + 50);
}

}  // namespace
}  // namespace denoise
