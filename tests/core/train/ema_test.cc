#include "core/train/ema.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cmath>

namespace denoise {
namespace {

TEST(Ema, DecaysLessWhileThereIsLittleToRemember) {
  EXPECT_DOUBLE_EQ(EmaDecayAt(0.999, 0), 1.0 / 10);
  EXPECT_DOUBLE_EQ(EmaDecayAt(0.999, 9), 10.0 / 19);
  EXPECT_DOUBLE_EQ(EmaDecayAt(0.9, 79), 80.0 / 89);
  EXPECT_DOUBLE_EQ(EmaDecayAt(0.9, 80), 0.9);  // 81 / 90
  EXPECT_DOUBLE_EQ(EmaDecayAt(0.9, 1000000), 0.9);
}

// Weights 1, 2, 3 ...: the average is the sum of each times what later decays have left of it.
TEST(Ema, IsTheSumOfAllWeightsByWhatIsLeftOfThem) {
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

TEST(Ema, OfWeightsThatStayIsExact) {
  const StateDict weights = {{"w", at::randn({1000})}};
  StateDict average = {{"w", weights.at("w").clone()}};
  for (int n = 0; n < 100; ++n) UpdateEma(0.999, n, weights, average);
  EXPECT_TRUE(at::equal(average["w"], weights.at("w")));
}

// Once warm, an average of constant weights c that began at b is c + (b - c) decay^n.
TEST(Ema, ComesExponentiallyCloseToWeightsThatStay) {
  StateDict average = {{"w", at::full({1}, 1.0F)}};
  for (int n = 0; n < 20; ++n) UpdateEma(0.9, 1000 + n, {{"w", at::full({1}, 3.0F)}}, average);
  EXPECT_NEAR(average["w"].item<double>(), 3 - 2 * std::pow(0.9, 20), 1e-5);
}

}  // namespace
}  // namespace denoise
