#include "core/sampling/schedules/preconditioning.h"

#include <gtest/gtest.h>

#include <cmath>

namespace denoise {
namespace {

constexpr double kSigmaData = 0.5;

// Karras et al. 2022, table 1, column EDM.
TEST(Preconditioning, OfEdmIsThatOfItsPaper) {
  for (double sigma : {0.002, 0.3, 1.0, 80.0}) {
    const double variance = sigma * sigma + kSigmaData * kSigmaData;
    const Scalings at =
        ScalingsAt({1, sigma}, PredictionType::kEpsilon, Preconditioning{kSigmaData});
    EXPECT_NEAR(at.c_in, 1 / std::sqrt(variance), 1e-12);
    EXPECT_NEAR(at.c_skip, kSigmaData * kSigmaData / variance, 1e-12);
    EXPECT_NEAR(at.c_out, sigma * kSigmaData / std::sqrt(variance), 1e-12);
    const Scalings v =
        ScalingsAt({1, sigma}, PredictionType::kVPrediction, Preconditioning{kSigmaData});
    EXPECT_EQ(v.c_skip, at.c_skip);
    EXPECT_EQ(v.c_out, -at.c_out);
  }
}

// With data of deviation sigma_data the best F has unit variance: that of c_out is just what x does
// not say of x0.
TEST(Preconditioning, OfEdmLeavesTheNetworkAUnitVariance) {
  for (double sigma : {0.01, 0.5, 20.0}) {
    const Scalings at =
        ScalingsAt({1, sigma}, PredictionType::kEpsilon, Preconditioning{kSigmaData});
    // F = (x0 - c_skip * (x0 + sigma * epsilon)) / c_out
    const double variance =
        (std::pow((1 - at.c_skip) * kSigmaData, 2) + std::pow(at.c_skip * sigma, 2)) /
        (at.c_out * at.c_out);
    EXPECT_NEAR(variance, 1, 1e-12);
  }
}

// Song et al. 2023: f(x, sigma_min) = x.
TEST(Preconditioning, OfAConsistencyModelIsTheIdentityAtItsBoundary) {
  const Preconditioning consistency = {.sigma_data = kSigmaData, .boundary = 0.002};
  const Scalings at_boundary = ScalingsAt({1, 0.002}, PredictionType::kEpsilon, consistency);
  EXPECT_EQ(at_boundary.c_skip, 1);
  EXPECT_EQ(at_boundary.c_out, 0);
  const Scalings above = ScalingsAt({1, 2}, PredictionType::kEpsilon, consistency);
  EXPECT_NEAR(above.c_skip, 0.25 / (1.998 * 1.998 + 0.25), 1e-12);
  EXPECT_NEAR(above.c_out, 1.998 * 0.5 / std::sqrt(4.25), 1e-12);
  EXPECT_NEAR(above.c_in, 1 / std::sqrt(4.25), 1e-12);
}

// Without preconditioning the network sees x, and x0 follows from what it says of x.
TEST(Scalings, WithoutPreconditioningInvertWhatTheNetworkPredicts) {
  const double x0 = 0.7, epsilon = -1.3;
  const auto expect_x0 = [&](const NoiseLevel& level, PredictionType type, double output) {
    const Scalings at = ScalingsAt(level, type, std::nullopt);
    EXPECT_EQ(at.c_in, 1);
    const double x = level.alpha * x0 + level.sigma * epsilon;
    EXPECT_NEAR(at.c_skip * x + at.c_out * output, x0, 1e-12);
  };
  const NoiseLevel preserving = {0.6, 0.8}, flow = {0.3, 0.7};
  expect_x0(preserving, PredictionType::kEpsilon, epsilon);
  expect_x0(preserving, PredictionType::kSample, x0);
  expect_x0(preserving, PredictionType::kVPrediction, 0.6 * epsilon - 0.8 * x0);
  expect_x0(flow, PredictionType::kFlowPrediction, epsilon - x0);
}

}  // namespace
}  // namespace denoise
