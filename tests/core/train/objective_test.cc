#include "core/train/objective.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/base/field_violations.h"
#include "core/diffusion/noise_source.h"
#include "tests/core/train/objective_testing.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using testing::ElementsAre;

constexpr int64_t kChannels = 2;
constexpr NetworkSpec kPlain = {.sample = {.channels = kChannels}, .out_channels = kChannels};
constexpr NetworkSpec kDoubled = {.sample = {.channels = kChannels}, .out_channels = 2 * kChannels};

at::Tensor Noise(at::IntArrayRef shape, uint64_t seed) { return NoiseSource(seed).Draw(shape); }

// A schedule, what is predicted on it, and where its rows are.
struct Setting {
  std::string name;
  ScheduleOptions schedule;
  PredictionType prediction;
  std::vector<double> timesteps;

  at::Tensor x0 = Noise({3, kChannels, 2, 2}, 1).clamp(-1, 1);
  at::Tensor noise = Noise({3, kChannels, 2, 2}, 2);

  SchedulerConfig config() const { return Config(schedule, prediction); }
  NoiseLevel level(int64_t row) const {
    return Schedule::Create(schedule)->LevelAt(timesteps[static_cast<size_t>(row)]);
  }
};

std::vector<Setting> Settings() {
  const std::vector<double> whole = {0, 400, 999}, edm = {-1.2, 0, 1};
  return {
      {"Epsilon", VpOptions{}, PredictionType::kEpsilon, whole},
      {"Sample", VpOptions{}, PredictionType::kSample, whole},
      {"V", VpOptions{}, PredictionType::kVPrediction, whole},
      {"VWithoutSignal", VpOptions{.rescale_betas_zero_snr = true}, PredictionType::kVPrediction,
       whole},
      {"Flow", FlowOptions{}, PredictionType::kFlowPrediction, {1, 300.5, 1000}},
      {"InvertedFlow",
       FlowOptions{.invert_sigmas = true},
       PredictionType::kInvertedFlowPrediction,
       {0, 300.5, 999}},
      {"Edm", EdmOptions{}, PredictionType::kEpsilon, edm},
      {"EdmV", EdmOptions{}, PredictionType::kVPrediction, edm},
  };
}

// What the network should say, by the definition of each prediction.
at::Tensor RightAnswer(const Setting& setting, int64_t row) {
  const at::Tensor x0 = setting.x0[row], epsilon = setting.noise[row];
  const auto [alpha, sigma] = setting.level(row);
  if (std::holds_alternative<EdmOptions>(setting.schedule)) {  // Karras et al. 2022, eq. 8
    const at::Tensor x = x0 + sigma * epsilon;
    const double variance = sigma * sigma + 0.25;
    const at::Tensor f = (x0 - 0.25 / variance * x) / (sigma * 0.5 / std::sqrt(variance));
    return setting.prediction == PredictionType::kVPrediction ? -f : f;
  }
  switch (setting.prediction) {
    case PredictionType::kEpsilon:
      return epsilon;
    case PredictionType::kSample:
      return x0;
    case PredictionType::kVPrediction:
      return alpha * epsilon - sigma * x0;
    case PredictionType::kFlowPrediction:
      return epsilon - x0;
    case PredictionType::kInvertedFlowPrediction:
      return x0 - epsilon;
  }
  return {};
}

at::Tensor RightAnswers(const Setting& setting) {
  return at::stack({RightAnswer(setting, 0), RightAnswer(setting, 1), RightAnswer(setting, 2)});
}

class SimpleLoss : public testing::TestWithParam<Setting> {
 protected:
  Objective::Losses Evaluate(const FunctionNetwork& network,
                             const ObjectiveOptions& options = {}) const {
    const Setting& setting = GetParam();
    const Objective objective = *Objective::Create(setting.config(), options, network.spec());
    return objective.Evaluate(network, {setting.x0, {}}, setting.timesteps, setting.noise);
  }
};

INSTANTIATE_TEST_SUITE_P(AllPredictions, SimpleLoss, testing::ValuesIn(Settings()),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(SimpleLoss, IsTheMeanSquaredErrorOfWhatIsPredicted) {
  const at::Tensor right = RightAnswers(GetParam()), error = Noise(right.sizes(), 3);
  const auto says = [&](const at::Tensor& answer) {
    return FunctionNetwork(kChannels, kChannels, [answer](const NetworkInput&) { return answer; });
  };
  const Objective::Losses none = Evaluate(says(right)), losses = Evaluate(says(right + error));
  EXPECT_LT(none.loss.max().item<double>(), 1e-9);
  const at::Tensor expected = at::pow(error, 2).flatten(1).mean(1);
  EXPECT_TRUE(losses.loss.allclose(expected, 1e-4)) << losses.loss << expected;
  EXPECT_TRUE(losses.simple.equal(losses.loss));
  EXPECT_FALSE(losses.vlb.defined());
}

TEST_P(SimpleLoss, CallsTheNetworkLikeSamplers) {
  const Setting& setting = GetParam();
  NetworkInput seen;
  Evaluate(FunctionNetwork(kChannels, kChannels, [&](const NetworkInput& input) {
    seen = input;
    return input.x;
  }));
  for (int64_t row = 0; row < 3; ++row) {
    const NoiseLevel level = setting.level(row);
    const bool edm = std::holds_alternative<EdmOptions>(setting.schedule);
    const double c_in = edm ? 1 / std::hypot(level.sigma, 0.5) : 1;
    const at::Tensor x = c_in * (level.alpha * setting.x0[row] + level.sigma * setting.noise[row]);
    EXPECT_TRUE(seen.x[row].allclose(x, 1e-5, 1e-6));
    EXPECT_FLOAT_EQ(seen.timesteps[row].item<float>(),
                    static_cast<float>(setting.timesteps[static_cast<size_t>(row)]));
  }
  EXPECT_FALSE(seen.conditions.class_labels.defined());
}

// Whatever is predicted, at the last timestep without signal, too.
TEST_P(SimpleLoss, IsWeightedByTheErrorInX0) {
  const Setting& setting = GetParam();
  const at::Tensor answer = Noise(setting.x0.sizes(), 3);
  const FunctionNetwork network(kChannels, kChannels, [&](const NetworkInput&) { return answer; });
  const Objective::Losses losses =
      Evaluate(network, {.weighting = LossWeighting::kMinSnr, .min_snr_gamma = 5});
  EXPECT_TRUE(losses.loss.isfinite().all().item<bool>());
  const bool edm = std::holds_alternative<EdmOptions>(setting.schedule);
  for (int64_t row = 0; row < 3; ++row) {
    const NoiseLevel level = setting.level(row);
    if (level.alpha < 0.01) continue;  // the error in x0 is all rounding
    const Scalings scalings =
        ScalingsAt(level, setting.prediction,
                   edm ? std::optional(Preconditioning{.sigma_data = 0.5}) : std::nullopt);
    const at::Tensor x = level.alpha * setting.x0[row] + level.sigma * setting.noise[row];
    const at::Tensor error = scalings.c_skip * x + scalings.c_out * answer[row] - setting.x0[row];
    const double expected =
        std::min(std::exp(level.log_snr()), 5.0) * at::pow(error, 2).mean().item<double>();
    EXPECT_NEAR(losses.loss[row].item<double>(), expected, 1e-3 * expected) << row;
  }
}

// E |epsilon - E[epsilon | x_t]|^2 of Gaussian data is known; no network makes less.
TEST(SimpleLossOfGaussianData, IsLeastForTheExactDenoiser) {
  const SchedulerConfig config = Config(VpOptions{}, PredictionType::kEpsilon);
  const Objective objective =
      *Objective::Create(config, {}, {.sample = {.channels = 1}, .out_channels = 1});
  const GaussianData data;  // deviation 0.5
  const GaussianNetwork exact(objective.schedule(), data, 1, 32, 32);
  const at::Tensor x0 = data.means[0] + data.deviation * Noise({5, 1, 32, 32}, 1);
  const at::Tensor noise = Noise(x0.sizes(), 2);
  const std::vector<double> timesteps = {0, 100, 300, 600, 999};
  const auto loss = [&](double factor, double shift) {
    const FunctionNetwork network(
        1, 1, [&](const NetworkInput& input) { return factor * exact.Forward(input) + shift; });
    return objective.Evaluate(network, {x0, {}}, timesteps, noise).loss;
  };
  const at::Tensor least = loss(1, 0);
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const NoiseLevel level = objective.schedule().LevelAt(timesteps[i]);
    const double signal = std::pow(level.alpha * data.deviation, 2);
    const double expected = signal / (signal + level.sigma * level.sigma);
    // Five standard errors of the mean of 1024 squares.
    EXPECT_NEAR(least[static_cast<int64_t>(i)].item<double>(), expected,
                5 * std::sqrt(2.0 / 1024) * expected);
  }
  const at::Tensor total = least.sum();
  for (const auto& [factor, shift] : {std::pair(1.2, 0.0), {0.8, 0.0}, {1.0, 0.2}, {1.0, -0.2}})
    EXPECT_GT(loss(factor, shift).sum().item<double>(), total.item<double>());
}

std::vector<std::string> Violated(const SchedulerConfig& config, const ObjectiveOptions& options,
                                  const NetworkSpec& network = kPlain) {
  std::vector<std::string> fields;
  for (const FieldViolation& violation :
       GetFieldViolations(Objective::Create(config, options, network).status()))
    fields.push_back(violation.field);
  return fields;
}

TEST(Objective, RefusesTheBoundWhereThereIsNone) {
  const ObjectiveOptions bound = {.loss = LossKind::kVariationalBound};
  const ObjectiveOptions hybrid = {.loss = LossKind::kHybrid};
  const SchedulerConfig flow = Config(FlowOptions{}, PredictionType::kFlowPrediction);
  const SchedulerConfig edm = Config(EdmOptions{}, PredictionType::kEpsilon);
  const auto vp = [](VarianceType variance) {
    return Config(VpOptions{}, PredictionType::kEpsilon, variance);
  };
  EXPECT_THAT(Violated(flow, bound), ElementsAre("loss"));
  EXPECT_THAT(Violated(edm, hybrid), ElementsAre("loss"));
  EXPECT_THAT(Violated(vp(VarianceType::kLearned), bound, kDoubled), ElementsAre("loss"));
  EXPECT_THAT(Violated(vp(VarianceType::kLearnedRange), hybrid, kPlain), ElementsAre("loss"));
  EXPECT_THAT(Violated(vp(VarianceType::kFixedSmall), hybrid, kPlain), ElementsAre("loss"));
  EXPECT_THAT(Violated(vp(VarianceType::kLearnedRange), hybrid, kDoubled), ElementsAre());
  EXPECT_THAT(Violated(vp(VarianceType::kFixedSmall), bound, kPlain), ElementsAre());
}

TEST(Objective, RefusesWhatCannotBeTrained) {
  const VpOptions zero_snr = {.rescale_betas_zero_snr = true};
  EXPECT_THAT(Violated(Config(zero_snr, PredictionType::kEpsilon), {}), ElementsAre("loss"));
  EXPECT_THAT(Violated(Config(zero_snr, PredictionType::kVPrediction), {}), ElementsAre());
  EXPECT_THAT(Violated(Config(zero_snr, PredictionType::kSample), {}), ElementsAre());
  EXPECT_THAT(Violated(Config(EdmOptions{.consistency_model = true}, PredictionType::kEpsilon), {}),
              ElementsAre("loss"));
  EXPECT_THAT(Violated(Config(VpOptions{}, PredictionType::kFlowPrediction), {}),
              ElementsAre("loss"));
  SchedulerConfig continuous = Config(VpOptions{}, PredictionType::kVPrediction);
  continuous.sampler.timestep_type = TimestepType::kContinuous;
  EXPECT_THAT(Violated(continuous, {}), ElementsAre("loss"));
  EXPECT_THAT(Violated(Config(VpOptions{}, PredictionType::kEpsilon), {},
                       {.sample = {.channels = 3}, .out_channels = 4}),
              ElementsAre("loss"));
}

TEST(Objective, RefusesOptionsThatDoNotGoTogether) {
  const ObjectiveOptions by_loss = {.timestep_sampling = TimestepSampling::kLossSecondMoment};
  EXPECT_THAT(Violated(Config(FlowOptions{}, PredictionType::kFlowPrediction), by_loss),
              ElementsAre("timestep_sampling"));
  EXPECT_THAT(Violated(Config(VpOptions{}, PredictionType::kEpsilon), by_loss), ElementsAre());
  EXPECT_THAT(Violated(Config(VpOptions{}, PredictionType::kEpsilon),
                       {.loss = LossKind::kVariationalBound, .weighting = LossWeighting::kMinSnr}),
              ElementsAre("weighting"));
  EXPECT_THAT(Violated(Config(EdmOptions{}, PredictionType::kEpsilon),
                       {.loss = LossKind::kHybrid,
                        .timestep_sampling = TimestepSampling::kLossSecondMoment}),
              ElementsAre("loss", "timestep_sampling"));
}

TEST(Objective, PassesClassLabelsOn) {
  const Objective objective =
      *Objective::Create(Config(VpOptions{}, PredictionType::kEpsilon), {}, kPlain);
  const at::Tensor labels = at::tensor({3, 0, 1});
  at::Tensor seen;
  const FunctionNetwork network(kChannels, kChannels, [&](const NetworkInput& input) {
    seen = input.conditions.class_labels;
    return input.x;
  });
  const at::Tensor x0 = Noise({3, kChannels, 2, 2}, 1);
  objective.Evaluate(network, {x0, labels}, {1, 2, 3}, Noise(x0.sizes(), 2));
  EXPECT_TRUE(seen.equal(labels));
}

}  // namespace
}  // namespace denoise
