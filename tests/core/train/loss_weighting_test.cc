#include <gtest/gtest.h>

#include <cmath>

#include "core/sampling/schedules/preconditioning.h"
#include "core/sampling/schedules/schedule.h"
#include "core/train/objective.h"

namespace denoise {
namespace {

constexpr double kGamma = 5;
constexpr double kSigmaData = 0.5;

ObjectiveOptions Options(LossWeighting weighting) {
  return {.weighting = weighting, .min_snr_gamma = kGamma, .p2_gamma = 0.8, .p2_k = 1.5};
}

double Weight(LossWeighting weighting, const NoiseLevel& level, PredictionType type) {
  return OutputWeight(Options(weighting), level, ScalingsAt(level, type, std::nullopt).c_out,
                      kSigmaData);
}

// From almost no noise to almost no signal, on both sides of gamma.
class LossWeightingAt : public testing::TestWithParam<int> {
 protected:
  const NoiseLevel level_ = Schedule::Create(VpOptions{})->LevelAt(GetParam());
  const double snr_ = std::exp(level_.log_snr());
};

INSTANTIATE_TEST_SUITE_P(Timesteps, LossWeightingAt, testing::Values(0, 50, 100, 300, 600, 999));

void ExpectRatio(double actual, double expected) { EXPECT_NEAR(actual / expected, 1, 1e-9); }

// Hang et al. 2023, section 3.4.
TEST_P(LossWeightingAt, MinSnrHasItsPublishedForms) {
  const auto weight = [&](PredictionType type) {
    return Weight(LossWeighting::kMinSnr, level_, type);
  };
  ExpectRatio(weight(PredictionType::kSample), std::min(snr_, kGamma));
  ExpectRatio(weight(PredictionType::kEpsilon), std::min(snr_, kGamma) / snr_);
  ExpectRatio(weight(PredictionType::kVPrediction), std::min(snr_, kGamma) / (snr_ + 1));
}

// Choi et al. 2022, eq. 8.
TEST_P(LossWeightingAt, P2HasItsPublishedForm) {
  ExpectRatio(Weight(LossWeighting::kP2, level_, PredictionType::kEpsilon),
              1 / std::pow(1.5 + snr_, 0.8));
}

TEST_P(LossWeightingAt, UniformIsOneForEveryPredictionType) {
  for (PredictionType type :
       {PredictionType::kSample, PredictionType::kEpsilon, PredictionType::kVPrediction}) {
    EXPECT_EQ(Weight(LossWeighting::kUniform, level_, type), 1);
  }
}

// A network whose x0 is off by d makes one loss, whatever it predicts.
TEST_P(LossWeightingAt, AnErrorInX0CountsTheSameForEveryPredictionType) {
  for (LossWeighting weighting :
       {LossWeighting::kMinSnr, LossWeighting::kP2, LossWeighting::kEdm}) {
    const double expected = Weight(weighting, level_, PredictionType::kSample);
    for (PredictionType type : {PredictionType::kEpsilon, PredictionType::kVPrediction}) {
      const double d_output = 1 / ScalingsAt(level_, type, std::nullopt).c_out;
      ExpectRatio(Weight(weighting, level_, type) * d_output * d_output, expected);
    }
  }
}

// Karras et al. 2022, table 1: lambda(sigma), which c_out undoes: it is uniform in F.
TEST(LossWeighting, EdmIsUniformInEdmsNetwork) {
  const Schedule schedule = *Schedule::Create(EdmOptions{});
  for (double sigma : {0.002, 0.1, 1.0, 80.0}) {
    const NoiseLevel level = {1, sigma};
    const Scalings scalings =
        ScalingsAt(level, PredictionType::kEpsilon, schedule.As<EdmSchedule>()->preconditioning());
    const ObjectiveOptions options = Options(LossWeighting::kEdm);
    const double lambda = (sigma * sigma + 0.25) / std::pow(sigma * 0.5, 2);
    ExpectRatio(X0Weight(options, level, kSigmaData), lambda);
    EXPECT_NEAR(OutputWeight(options, level, scalings.c_out, kSigmaData), 1, 1e-9) << sigma;
  }
}

// On a flow velocities err by 1 / sigma of an error in x0.
TEST(LossWeighting, HoldsOnAFlow) {
  const NoiseLevel level = Schedule::Create(FlowOptions{})->LevelAt(250);
  const double snr = 9;  // (0.75 / 0.25)^2
  EXPECT_NEAR(Weight(LossWeighting::kMinSnr, level, PredictionType::kFlowPrediction), kGamma / 16,
              1e-9);
  EXPECT_NEAR(Weight(LossWeighting::kP2, level, PredictionType::kInvertedFlowPrediction),
              snr / std::pow(1.5 + snr, 0.8) / 16, 1e-9);
}

TEST(LossWeighting, IsFiniteWithoutSignal) {
  const NoiseLevel level = {0, 1};
  for (PredictionType type :
       {PredictionType::kSample, PredictionType::kVPrediction, PredictionType::kFlowPrediction}) {
    EXPECT_EQ(Weight(LossWeighting::kMinSnr, level, type), 0);
    EXPECT_EQ(Weight(LossWeighting::kP2, level, type), 0);
    EXPECT_EQ(Weight(LossWeighting::kEdm, level, type), 4);
  }
}

}  // namespace
}  // namespace denoise
