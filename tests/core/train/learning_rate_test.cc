#include "core/train/learning_rate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace denoise {
namespace {

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

}  // namespace
}  // namespace denoise
