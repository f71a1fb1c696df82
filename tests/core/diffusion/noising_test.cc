#include "core/diffusion/noising.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace denoise {
namespace {

using testing::ElementsAre;

constexpr double kPixel = 0.4;
constexpr int64_t kPixels = 40000;

at::Tensor Picture() { return at::full({1, 1, kPixels}, kPixel, at::kFloat); }

// The mean and the variance over pixels that all began as one value.
struct Moments {
  double mean;
  double variance;
};

Moments MomentsOf(const at::Tensor& x) {
  return {x.to(at::kDouble).mean().item<double>(), x.to(at::kDouble).var().item<double>()};
}

const Schedule& Discrete() {
  static const Schedule schedule = *Schedule::Create(VpOptions{});
  return schedule;
}

class NoisingModes : public testing::TestWithParam<NoisingMode> {};

// Both modes have the moments of q(x_t | x_0), so they agree with each other. With as many pixels
// and five standard errors either way, chance fails this once in a million.
TEST_P(NoisingModes, HaveTheMomentsOfTheMarginal) {
  const ForwardProcess process(Discrete());
  Noising noising(&process, Picture(), /*seed=*/3, GetParam());
  for (const NoisingStop& stop : LayOutNoising(Discrete(), {20, 250, 999}, GetParam())) {
    const at::Tensor x = noising.Step(stop.timestep);
    if (!stop.shown) continue;
    const NoiseLevel level = Discrete().LevelAt(stop.timestep);
    const double variance = level.sigma * level.sigma;
    const Moments moments = MomentsOf(x);
    EXPECT_NEAR(moments.mean, level.alpha * kPixel, 5 * level.sigma / std::sqrt(kPixels))
        << "t " << stop.timestep;
    EXPECT_NEAR(moments.variance, variance, 5 * variance * std::sqrt(2.0 / kPixels))
        << "t " << stop.timestep;
  }
}

TEST_P(NoisingModes, WorkForContinuousSchedules) {
  for (const ScheduleOptions& options :
       {ScheduleOptions(EdmOptions{}), ScheduleOptions(FlowOptions{}),
        ScheduleOptions(FlowOptions{.invert_sigmas = true})}) {
    const Schedule schedule = *Schedule::Create(options);
    const ForwardProcess process(schedule);
    Noising noising(&process, Picture(), /*seed=*/4, GetParam());
    for (const double timestep : EvenTimesteps(schedule, 4)) {
      const NoiseLevel level = schedule.LevelAt(timestep);
      const Moments moments = MomentsOf(noising.Step(timestep));
      EXPECT_NEAR(moments.mean, level.alpha * kPixel, 5 * level.sigma / std::sqrt(kPixels));
      EXPECT_NEAR(moments.variance / (level.sigma * level.sigma), 1, 5 * std::sqrt(2.0 / kPixels));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Both, NoisingModes,
                         testing::Values(NoisingMode::kClosedForm, NoisingMode::kStepByStep));

TEST(Noising, InClosedFormMixesOneEpsilonIn) {
  const ForwardProcess process(Discrete());
  Noising noising(&process, Picture(), /*seed=*/5, NoisingMode::kClosedForm);
  const auto epsilon_at = [&](double t) {
    const NoiseLevel level = Discrete().LevelAt(t);
    return (noising.Step(t) - level.alpha * kPixel) / level.sigma;
  };
  const at::Tensor first = epsilon_at(300);
  EXPECT_TRUE(first.allclose(epsilon_at(900), /*rtol=*/1e-4, /*atol=*/1e-4));
  NoiseSource same_seed(5);
  EXPECT_TRUE(first.allclose(same_seed.Draw({1, 1, kPixels}), 1e-4, 1e-4));
}

TEST(Noising, StepByStepNeverForgetsItsNoise) {
  const ForwardProcess process(Discrete());
  Noising noising(&process, Picture(), /*seed=*/6, NoisingMode::kStepByStep);
  const NoiseLevel s = Discrete().LevelAt(0), t = Discrete().LevelAt(1);
  const at::Tensor x_s = noising.Step(0), x_t = noising.Step(1);
  const double keep = t.alpha / s.alpha;
  const double added = t.sigma * t.sigma - keep * keep * s.sigma * s.sigma;
  const Moments moments = MomentsOf(x_t - keep * x_s);
  EXPECT_NEAR(moments.variance, added, 5 * added * std::sqrt(2.0 / kPixels));
}

TEST(LayOutNoising, PassesEveryTimestepOfADiscreteScheduleStepByStep) {
  EXPECT_THAT(LayOutNoising(Discrete(), {1, 2.5, 4}, NoisingMode::kStepByStep),
              ElementsAre(NoisingStop{0, false}, NoisingStop{1, true}, NoisingStop{2, false},
                          NoisingStop{2.5, true}, NoisingStop{3, false}, NoisingStop{4, true}));
  EXPECT_THAT(LayOutNoising(Discrete(), {1, 4}, NoisingMode::kClosedForm),
              ElementsAre(NoisingStop{1, true}, NoisingStop{4, true}));
}

TEST(LayOutNoising, GoesFromFrameToFrameInAContinuousSchedule) {
  const Schedule flow = *Schedule::Create(FlowOptions{});
  EXPECT_THAT(LayOutNoising(flow, {250, 750}, NoisingMode::kStepByStep),
              ElementsAre(NoisingStop{250, true}, NoisingStop{750, true}));
}

TEST(EvenTimesteps, EndAtTheNoisiestAndAreWholeInADiscreteSchedule) {
  EXPECT_THAT(EvenTimesteps(Discrete(), 4), ElementsAre(250, 500, 749, 999));
  EXPECT_EQ(EvenTimesteps(Discrete(), 5000).size(), 1000u);
  EXPECT_THAT(EvenTimesteps(*Schedule::Create(FlowOptions{}), 4),
              ElementsAre(250.75, 500.5, 750.25, 1000));
}

}  // namespace
}  // namespace denoise
