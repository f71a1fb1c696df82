#include "core/train/timestep_sampler.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

namespace denoise {
namespace {

using testing::Each;

at::Generator Generator(uint64_t seed = 1) { return at::detail::createCPUGenerator(seed); }

std::vector<double> Draw(const Schedule& schedule, const ObjectiveOptions& options, int64_t rows) {
  at::Generator generator = Generator();
  const SampledTimesteps sampled = TimestepSampler(schedule, options).Sample(rows, generator);
  EXPECT_THAT(sampled.weights, Each(1));
  return sampled.timesteps;
}

struct Moments {
  double mean, deviation;
};

Moments MomentsOf(const std::vector<double>& values, const std::function<double(double)>& of) {
  double sum = 0, squares = 0;
  for (double value : values) {
    sum += of(value);
    squares += of(value) * of(value);
  }
  const double count = static_cast<double>(values.size()), mean = sum / count;
  return {mean, std::sqrt(squares / count - mean * mean)};
}

// As 20000 draws of a uniform distribution over [min, max] should be, within five standard errors.
void ExpectUniform(const std::vector<double>& values, double min, double max) {
  const Moments moments = MomentsOf(values, [](double value) { return value; });
  const double deviation = (max - min) / std::sqrt(12.0);
  EXPECT_NEAR(moments.mean, (min + max) / 2, 5 * deviation / std::sqrt(20000.0));
  EXPECT_NEAR(moments.deviation, deviation, 0.02 * deviation);
  EXPECT_GE(*std::min_element(values.begin(), values.end()), min);
  EXPECT_LE(*std::max_element(values.begin(), values.end()), max);
}

Schedule Vp(int timesteps = 1000) {
  return *Schedule::Create(VpOptions{.num_train_timesteps = timesteps});
}

TEST(UniformTimesteps, AreWholeOnADiscreteSchedule) {
  const std::vector<double> timesteps = Draw(Vp(10), {}, 20000);
  for (int t = 0; t < 10; ++t) {
    const auto count = std::count(timesteps.begin(), timesteps.end(), t);
    EXPECT_NEAR(static_cast<double>(count), 2000, 5 * std::sqrt(2000 * 0.9)) << t;
  }
}

TEST(UniformTimesteps, AreUniformInSigmaOnAFlow) {
  ExpectUniform(Draw(*Schedule::Create(FlowOptions{}), {}, 20000), 1, 1000);
  ExpectUniform(Draw(*Schedule::Create(FlowOptions{.invert_sigmas = true}), {}, 20000), 0, 999);
}

TEST(UniformTimesteps, AreUniformInLogSigmaOnEdmsSchedule) {
  const std::vector<double> timesteps = Draw(*Schedule::Create(EdmOptions{}), {}, 20000);
  ExpectUniform(timesteps, 0.25 * std::log(0.002), 0.25 * std::log(80));
}

ObjectiveOptions LogNormal(double mean, double std) {
  return {.timestep_sampling = TimestepSampling::kLogNormal,
          .log_normal_mean = mean,
          .log_normal_std = std};
}

TEST(LogNormalTimesteps, HaveANormalLogSigmaOnEdmsSchedule) {
  const auto timesteps = Draw(*Schedule::Create(EdmOptions{}), LogNormal(-1.2, 1.2), 20000);
  const Moments moments = MomentsOf(timesteps, [](double t) { return 4 * t; });
  EXPECT_NEAR(moments.mean, -1.2, 5 * 1.2 / std::sqrt(20000.0));
  EXPECT_NEAR(moments.deviation, 1.2, 0.03);
}

TEST(LogNormalTimesteps, HaveANormalLogitOnAFlow) {
  const auto timesteps = Draw(*Schedule::Create(FlowOptions{}), LogNormal(0.5, 0.8), 20000);
  const Moments moments = MomentsOf(timesteps, [](double t) { return std::log(t / (1000 - t)); });
  EXPECT_NEAR(moments.mean, 0.5, 5 * 0.8 / std::sqrt(20000.0));
  EXPECT_NEAR(moments.deviation, 0.8, 0.02);
}

TEST(LogNormalTimesteps, AreTheNearestOnADiscreteSchedule) {
  const Schedule schedule = Vp();
  const auto timesteps = Draw(schedule, LogNormal(-0.4, 0.7), 20000);
  for (double t : timesteps) ASSERT_EQ(t, std::floor(t));
  const Moments moments =
      MomentsOf(timesteps, [&](double t) { return -schedule.LevelAt(t).lambda(); });
  EXPECT_NEAR(moments.mean, -0.4, 5 * 0.7 / std::sqrt(20000.0));
  EXPECT_NEAR(moments.deviation, 0.7, 0.02);
  // All but at 0.4 and at 0.6 of the way from timestep 500 to 501.
  const double from = -schedule.LevelAt(500).lambda(), to = -schedule.LevelAt(501).lambda();
  EXPECT_THAT(Draw(schedule, LogNormal(from + 0.4 * (to - from), 1e-9), 5), Each(500));
  EXPECT_THAT(Draw(schedule, LogNormal(from + 0.6 * (to - from), 1e-9), 5), Each(501));
}

TEST(LogNormalTimesteps, StayInTheSchedulesRange) {
  for (const ScheduleOptions& options :
       {ScheduleOptions(VpOptions{.rescale_betas_zero_snr = true}), ScheduleOptions(EdmOptions{}),
        ScheduleOptions(FlowOptions{}), ScheduleOptions(FlowOptions{.invert_sigmas = true})}) {
    const Schedule schedule = *Schedule::Create(options);
    const auto timesteps = Draw(schedule, LogNormal(0, 1e4), 200);
    const auto [min, max] = std::minmax_element(timesteps.begin(), timesteps.end());
    EXPECT_EQ(*min, schedule.timestep_min());
    EXPECT_EQ(*max, schedule.timestep_max());
  }
}

constexpr ObjectiveOptions kByLoss = {.timestep_sampling = TimestepSampling::kLossSecondMoment};

// Noisy timesteps cost far more.
double Loss(double t) { return std::exp(t); }

// Ten losses for each of `timesteps`, the losses being those of `loss`.
void Fill(TimestepSampler& sampler, int timesteps, int times,
          const std::function<double(double)>& loss = Loss) {
  for (int i = 0; i < times; ++i) {
    std::vector<double> t, losses;
    for (int j = 0; j < timesteps; ++j) {
      t.push_back(j);
      losses.push_back(loss(j));
    }
    sampler.Update(t, at::tensor(losses).to(at::kFloat));
  }
}

bool IsUniform(const TimestepSampler& sampler) {
  at::Generator generator = Generator();
  const std::vector<float> weights = sampler.Sample(100, generator).weights;
  return std::all_of(weights.begin(), weights.end(), [](float weight) { return weight == 1; });
}

TEST(TimestepsByLoss, AreUniformUntilEveryTimestepHasTenLosses) {
  TimestepSampler sampler(Vp(8), kByLoss);
  EXPECT_TRUE(IsUniform(sampler));
  Fill(sampler, 8, 9);
  Fill(sampler, 7, 1);
  EXPECT_TRUE(IsUniform(sampler));
  sampler.Update({7}, at::tensor({1.0f}));
  EXPECT_FALSE(IsUniform(sampler));
}

TEST(TimestepsByLoss, AreDrawnByTheRootMeanSquareLoss) {
  TimestepSampler sampler(Vp(3), kByLoss);
  // The mean of the squares is 1, 4 and (5 * 0 + 5 * 18) / 10 = 9.
  Fill(sampler, 3, 5, [](double t) { return t == 2 ? 0 : t + 1; });
  Fill(sampler, 3, 5, [](double t) { return t == 2 ? std::sqrt(18) : t + 1; });
  at::Generator generator = Generator();
  const std::vector<double> timesteps = sampler.Sample(60000, generator).timesteps;
  for (int t = 0; t < 3; ++t) {
    const double probability = 0.999 * (t + 1) / 6 + 0.001 / 3;
    const auto count = std::count(timesteps.begin(), timesteps.end(), t);
    EXPECT_NEAR(static_cast<double>(count) / 60000, probability, 0.01) << t;
  }
}

TEST(TimestepsByLoss, WeightsMakeTheMeanThatOfUniformSampling) {
  TimestepSampler sampler(Vp(8), kByLoss);
  Fill(sampler, 8, 10);
  double exact = 0;
  for (int t = 0; t < 8; ++t) exact += Loss(t) * (1 + 0.3 * t) / 8;  // not what it has seen
  at::Generator generator = Generator();
  const int64_t rows = 100000;
  const SampledTimesteps sampled = sampler.Sample(rows, generator);
  double sum = 0, squares = 0;
  for (size_t i = 0; i < sampled.timesteps.size(); ++i) {
    const double t = sampled.timesteps[i], value = sampled.weights[i] * Loss(t) * (1 + 0.3 * t);
    sum += value;
    squares += value * value;
  }
  const double mean = sum / rows, error = std::sqrt((squares / rows - mean * mean) / rows);
  EXPECT_NEAR(mean, exact, 5 * error);
  EXPECT_LT(error, 0.002 * exact);  // that of uniform sampling is 0.0055
}

TEST(TimestepsByLoss, UseTheLastTenLosses) {
  TimestepSampler sampler(Vp(4), kByLoss), fresh(Vp(4), kByLoss);
  Fill(sampler, 4, 10);
  Fill(sampler, 4, 10, [](double t) { return 4 - t; });
  Fill(fresh, 4, 10, [](double t) { return 4 - t; });
  EXPECT_TRUE(sampler.state().at("losses").equal(fresh.state().at("losses")));
}

TEST(TimestepsByLoss, IgnoreNonFiniteLosses) {
  TimestepSampler sampler(Vp(4), kByLoss);
  Fill(sampler, 4, 10);
  const at::Tensor before = sampler.state().at("losses");
  sampler.Update({0, 3}, at::tensor({std::numeric_limits<float>::quiet_NaN(),
                                     std::numeric_limits<float>::infinity()}));
  EXPECT_TRUE(sampler.state().at("losses").equal(before));
}

TEST(TimestepsByLoss, AreUniformIfAllLossesAreZero) {
  TimestepSampler sampler(Vp(4), kByLoss);
  Fill(sampler, 4, 10, [](double) { return 0; });
  EXPECT_TRUE(IsUniform(sampler));
}

TEST(TimestepSamplerState, DeterminesFurtherDraws) {
  TimestepSampler sampler(Vp(8), kByLoss), other(Vp(8), kByLoss);
  Fill(sampler, 8, 7);
  ASSERT_TRUE(other.SetState(sampler.state()).ok());
  Fill(sampler, 8, 5, [](double t) { return 8 - t; });
  Fill(other, 8, 5, [](double t) { return 8 - t; });
  at::Generator generator = Generator(), same = Generator();
  const SampledTimesteps a = sampler.Sample(50, generator), b = other.Sample(50, same);
  EXPECT_EQ(a.timesteps, b.timesteps);
  EXPECT_EQ(a.weights, b.weights);
  EXPECT_NE(a.weights, std::vector<float>(50, 1));
}

TEST(TimestepSamplerState, IsEmptyIfNoLossesAreRecorded) {
  TimestepSampler uniform(Vp(8), {});
  uniform.Update({1}, at::tensor({1.0f}));
  EXPECT_TRUE(uniform.state().empty());
  EXPECT_TRUE(uniform.SetState({}).ok());
  EXPECT_FALSE(uniform.SetState(TimestepSampler(Vp(8), kByLoss).state()).ok());
}

TEST(TimestepSamplerState, IsRefusedIfItBelongsToAnotherSampler) {
  TimestepSampler sampler(Vp(8), kByLoss);
  Fill(sampler, 8, 10);
  const StateDict good = sampler.state();
  const auto with = [&](const char* name, const at::Tensor& tensor) {
    StateDict state = good;
    state[name] = tensor;
    return state;
  };
  const at::Tensor nan = at::full({8, 10}, std::nan(""), at::kFloat);
  for (const StateDict& state :
       {StateDict(), StateDict{{"losses", good.at("losses")}}, with("more", at::zeros({1})),
        TimestepSampler(Vp(9), kByLoss).state(), with("losses", nan),
        with("losses", good.at("losses").to(at::kDouble)), with("counts", at::full({8}, 11.0f)),
        with("counts", at::full({8}, 1.5f)), with("counts", at::full({8}, -1.0f)),
        with("counts", at::Tensor())}) {
    EXPECT_EQ(sampler.SetState(state).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(sampler.state().at("losses").equal(good.at("losses")));
  }
}

}  // namespace
}  // namespace denoise
