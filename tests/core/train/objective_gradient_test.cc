// The gradients of the objectives.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/diffusion/noise_source.h"
#include "tests/core/train/objective_testing.h"

namespace denoise {
namespace {

constexpr int64_t kChannels = 2;

at::Tensor Noise(at::IntArrayRef shape, uint64_t seed) { return NoiseSource(seed).Draw(shape); }

// A linear network of float32 parameters, told the time, too.
class LinearNetwork {
 public:
  explicit LinearNetwork(int64_t out_channels)
      : weight_(0.3 * Noise({out_channels, kChannels}, 5)),
        bias_(0.1 * Noise({out_channels}, 6)),
        time_(0.1 * Noise({out_channels}, 7)) {}

  // [parameters] in a row.
  at::Tensor parameters() const { return at::cat({weight_.flatten(), bias_, time_}); }

  static at::Tensor Forward(const at::Tensor& parameters, const NetworkInput& input) {
    const int64_t out = parameters.numel() / (kChannels + 2);
    const auto parts = parameters.split_with_sizes({out * kChannels, out, out});
    const at::Tensor channels = at::matmul(parts[0].view({1, out, kChannels}), input.x.flatten(2));
    const at::Tensor time = (input.timesteps / 100).view({-1, 1, 1}) * parts[2].view({1, out, 1});
    return (channels + parts[1].view({1, out, 1}) + time)
        .view({input.x.size(0), out, input.x.size(2), input.x.size(3)});
  }

 private:
  at::Tensor weight_, bias_, time_;
};

struct GradientCase {
  std::string name;
  SchedulerConfig config;
  ObjectiveOptions options;
  std::vector<double> timesteps = {1, 5, 9};
  int64_t out_channels = kChannels;

  Objective::Losses Evaluate(const at::Tensor& parameters) const {
    const FunctionNetwork network(kChannels, out_channels, [&](const NetworkInput& input) {
      return LinearNetwork::Forward(parameters, input);
    });
    const Objective objective = *Objective::Create(config, options, network.spec());
    return objective.Evaluate(network, {Noise({3, kChannels, 2, 2}, 1).clamp(-1, 1), {}}, timesteps,
                              Noise({3, kChannels, 2, 2}, 2));
  }

  at::Tensor Gradient() const {
    const at::Tensor parameters = LinearNetwork(out_channels).parameters().requires_grad_();
    Evaluate(parameters).loss.sum().backward();
    return parameters.grad();
  }
};

// Steps as large as in the published chains of a thousand, but few: the bound is a small number.
constexpr int kTimesteps = 10;
VpOptions FewTimesteps() {
  return {.beta_start = 0.02, .beta_end = 0.4, .num_train_timesteps = kTimesteps};
}

std::vector<GradientCase> GradientCases() {
  const VpOptions vp = FewTimesteps();
  const ObjectiveOptions vlb = {.loss = LossKind::kVariationalBound};
  return {
      {"Epsilon", Config(vp, PredictionType::kEpsilon), {}},
      {"SampleP2", Config(vp, PredictionType::kSample), {.weighting = LossWeighting::kP2}},
      {"VMinSnr", Config(vp, PredictionType::kVPrediction), {.weighting = LossWeighting::kMinSnr}},
      {"Flow", Config(FlowOptions{}, PredictionType::kFlowPrediction), {}, {1, 50, 1000}},
      {"Edm", Config(EdmOptions{}, PredictionType::kEpsilon), {}, {-1, 0, 1}},
      {"Bound", Config(vp, PredictionType::kEpsilon), vlb},
      {"BoundOfLearnedRange",
       Config(vp, PredictionType::kVPrediction, VarianceType::kLearnedRange),
       vlb,
       {0, 5, 9},
       2 * kChannels},
  };
}

class GradientOfLoss : public testing::TestWithParam<GradientCase> {};

INSTANTIATE_TEST_SUITE_P(AllLosses, GradientOfLoss, testing::ValuesIn(GradientCases()),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(GradientOfLoss, IsThatOfFiniteDifferences) {
  const GradientCase& c = GetParam();
  const at::Tensor gradient = c.Gradient();
  const at::Tensor parameters = LinearNetwork(c.out_channels).parameters();
  const double step = 5e-3;
  for (int64_t i = 0; i < parameters.numel(); ++i) {
    const auto loss = [&](double moved) {
      at::Tensor there = parameters.clone();
      there[i] += moved;
      return c.Evaluate(there).loss.to(at::kDouble).sum().item<double>();
    };
    const double numerical = (loss(step) - loss(-step)) / (2 * step);
    EXPECT_NEAR(gradient[i].item<double>(), numerical,
                2e-3 * std::abs(numerical) + 1e-3 * gradient.abs().max().item<double>())
        << i;
  }
}

// With the bound's weight, from nothing to a lot, the gradient of the mean's half stays that of
// L_simple, while the variance's grows in proportion.
TEST(HybridLoss, TrainsTheVarianceByTheBoundAndTheMeanWithoutIt) {
  const auto gradient = [](double vlb_weight) {
    return GradientCase{
        "Hybrid",
        Config(FewTimesteps(), PredictionType::kEpsilon, VarianceType::kLearnedRange),
        {.loss = LossKind::kHybrid, .vlb_weight = vlb_weight},
        {0, 5, 9},
        2 * kChannels}
        .Gradient();
  };
  const auto half = [](const at::Tensor& parameters, int64_t first_channel) {
    const at::Tensor weight =
        parameters.narrow(0, first_channel * kChannels, kChannels * kChannels);
    const at::Tensor bias =
        parameters.narrow(0, 2 * kChannels * kChannels + first_channel, kChannels);
    return at::cat({weight, bias});
  };
  const at::Tensor none = gradient(0), little = gradient(0.001), much = gradient(1);
  EXPECT_TRUE(half(much, 0).equal(half(none, 0)));
  EXPECT_GT(half(none, 0).abs().max().item<double>(), 0.1);
  EXPECT_EQ(half(none, kChannels).abs().max().item<double>(), 0);
  EXPECT_GT(half(much, kChannels).abs().min().item<double>(), 1e-4);
  EXPECT_TRUE(half(much, kChannels).allclose(1000 * half(little, kChannels), 1e-4));
}

TEST(HybridLoss, IsTheSimpleLossAndTheWeightedBound) {
  const GradientCase hybrid = {
      "Hybrid",
      Config(FewTimesteps(), PredictionType::kEpsilon, VarianceType::kLearnedRange),
      {.loss = LossKind::kHybrid, .vlb_weight = 0.25, .weighting = LossWeighting::kMinSnr},
      {0, 5, 9},
      2 * kChannels};
  GradientCase simple = hybrid, bound = hybrid;
  simple.options.loss = LossKind::kSimple;
  bound.options.loss = LossKind::kVariationalBound;
  bound.options.weighting = LossWeighting::kUniform;
  const at::Tensor parameters = LinearNetwork(2 * kChannels).parameters().requires_grad_();
  const Objective::Losses losses = hybrid.Evaluate(parameters);
  EXPECT_TRUE(losses.simple.equal(simple.Evaluate(parameters).simple));
  EXPECT_TRUE(losses.vlb.equal(bound.Evaluate(parameters).vlb));
  EXPECT_FALSE(bound.Evaluate(parameters).simple.defined());
  const at::Tensor expected = simple.Evaluate(parameters).loss + 0.25 * losses.vlb;
  EXPECT_TRUE(losses.loss.allclose(expected, 1e-6));
  EXPECT_TRUE(losses.loss.requires_grad());
  EXPECT_FALSE(losses.simple.requires_grad());
  EXPECT_FALSE(losses.vlb.requires_grad());
}

}  // namespace
}  // namespace denoise
