#include "tests/bench/energy_distance.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cmath>

namespace denoise {
namespace {

at::Tensor Normal(uint64_t seed, int64_t count) {
  return at::randn({count, 1}, at::detail::createCPUGenerator(seed),
                   at::TensorOptions().dtype(at::kDouble));
}

// E|N(mu, s^2)| of the folded normal distribution.
double FoldedMean(double mu, double s) {
  return s * std::sqrt(2 / M_PI) * std::exp(-mu * mu / (2 * s * s)) +
         mu * std::erf(mu / (s * std::sqrt(2)));
}

TEST(EnergyDistance, IsThatOfTwoNormalsInClosedForm) {
  constexpr double kShift = 1.5;
  const double between = FoldedMean(kShift, std::sqrt(2)), within = FoldedMean(0, std::sqrt(2));
  const double expected = (between - within) / between;
  const EnergyDistance measured = MeasureEnergyDistance(Normal(1, 500), Normal(2, 500) + kShift, 0);
  EXPECT_NEAR(measured.distance, expected, 0.05);
  EXPECT_GT(measured.distance, measured.chance);
}

TEST(EnergyDistance, OfOneDistributionIsWithinChance) {
  int above = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const EnergyDistance measured =
        MeasureEnergyDistance(Normal(2 * seed, 16), Normal(2 * seed + 1, 24), seed);
    if (measured.distance > measured.chance) ++above;
  }
  // Five of a hundred are expected: none comes once in 170 times, fourteen once in 2000.
  EXPECT_GT(above, 0);
  EXPECT_LT(above, 14);
}

}  // namespace
}  // namespace denoise
