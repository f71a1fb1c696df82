#include "core/evaluation/frechet_distance.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/core/evaluation/random_rows.h"

namespace denoise {
namespace {

FittedGaussian Fit(const at::Tensor& rows) {
  GaussianFit fit(rows);
  for (int64_t tile = 0; tile < fit.tiles(); ++tile) fit.AddTile(tile);
  return fit.Finish();
}

double Distance(const at::Tensor& a, const at::Tensor& b) {
  return FrechetDistance(Fit(a), Fit(b));
}

// Rows whose mean is 0 and whose covariance is the identity, to rounding.
at::Tensor WhiteRows(int64_t rows, int64_t dimensions, uint64_t seed) {
  const at::Tensor centred = [&] {
    const at::Tensor x = NormalRows(rows, dimensions, seed, at::kDouble);
    return x - x.mean(0);
  }();
  const auto [values, vectors] =
      at::linalg_eigh(centred.t().matmul(centred) / static_cast<double>(rows - 1), "L");
  return centred.matmul(vectors) / values.sqrt();
}

at::Tensor Root(const at::Tensor& symmetric) {
  const auto [values, vectors] = at::linalg_eigh(symmetric, "L");
  return (vectors * values.clamp_min(0).sqrt()).matmul(vectors.t());
}

// The formula as it is written, by two roots of matrices.
double ByTheFormula(const at::Tensor& a, const at::Tensor& b) {
  const auto covariance = [](const at::Tensor& x) {
    const at::Tensor centred = x - x.mean(0);
    return centred.t().matmul(centred) / static_cast<double>(x.size(0) - 1);
  };
  const at::Tensor s1 = covariance(a), s2 = covariance(b), root = Root(s1);
  const at::Tensor shift = a.mean(0) - b.mean(0);
  return ((shift * shift).sum() + s1.trace() + s2.trace() -
          2 * Root(root.matmul(s2).matmul(root)).trace())
      .item<double>();
}

TEST(FrechetDistance, OfGaussiansWithOneCovarianceIsTheSquaredDistanceOfTheirMeans) {
  const at::Tensor x = WhiteRows(3000, 5, 1);  // some tiles of rows
  EXPECT_NEAR(Distance(x, x + at::tensor({1.0, 2.0, 0.0, -2.0, 4.0})), 25, 1e-9);
}

// For diagonal covariances sum_i (s_i - t_i)^2.
TEST(FrechetDistance, OfCommutingCovariancesIsTheSquaredDistanceOfTheirRoots) {
  const at::Tensor x = WhiteRows(40, 3, 1), y = WhiteRows(50, 3, 2);
  EXPECT_NEAR(Distance(x * at::tensor({1.0, 2.0, 3.0}), y * at::tensor({4.0, 2.0, 0.5})),
              9 + 0 + 6.25, 1e-9);
}

TEST(FrechetDistance, OfAnyCovariancesIsTheFormula) {
  const at::Tensor x = NormalRows(60, 7, 1, at::kDouble).matmul(NormalRows(7, 7, 2, at::kDouble));
  const at::Tensor y =
      NormalRows(90, 7, 3, at::kDouble).matmul(NormalRows(7, 7, 4, at::kDouble)) + 0.5;
  EXPECT_NEAR(Distance(x, y), ByTheFormula(x, y), 1e-9);
  EXPECT_NEAR(Distance(y, x), ByTheFormula(x, y), 1e-9);
}

TEST(FrechetDistance, WithFewerRowsThanDimensionsIsTheFormula) {
  const at::Tensor x = NormalRows(6, 20, 1, at::kDouble), y = NormalRows(9, 20, 2, at::kDouble);
  EXPECT_NEAR(Distance(x, y), ByTheFormula(x, y), 1e-6);
  const at::Tensor many = NormalRows(100, 20, 3, at::kDouble);
  EXPECT_NEAR(Distance(x, many), ByTheFormula(x, many), 1e-6);
  EXPECT_NEAR(Distance(many, x), ByTheFormula(x, many), 1e-6);
}

// In orthogonal subspaces S_1 S_2 = 0: what is left is the sum of both traces.
TEST(FrechetDistance, OfSetsInOrthogonalSubspacesIsTheSumOfTheirVariances) {
  const at::Tensor x = at::zeros({3, 100}, at::kDouble), y = x.clone();
  for (int i = 0; i < 3; ++i) {
    x[i][0] = i;       // variance 1
    y[i][99] = 2 * i;  // variance 4, mean 2
  }
  EXPECT_NEAR(Distance(x, y), 1 + 4 + (1 + 4), 1e-12);
}

TEST(FrechetDistance, OfASetFromItselfIsZero) {
  for (const int64_t rows : {10, 300}) {
    const at::Tensor x = NormalRows(rows, 64, 1) + 100;
    EXPECT_LT(Distance(x, x), 1e-5) << rows;
  }
}

TEST(FrechetDistance, OfOneConstantFromAnotherIsTheSquaredDistance) {
  const at::Tensor x = at::zeros({4, 3});
  EXPECT_NEAR(Distance(x, x + 2), 12, 1e-12);
}

// The covariances of N(0, I) from N rows differ from it by O(1 / N): of D^2 / (4 N) each, to first
// order, and the means by D / N each.
TEST(FrechetDistance, OfSamplesOfOneGaussianIsTheBiasOfTheirNumber) {
  constexpr double kRows = 4000, kDimensions = 16;
  const double bias = 2 * (kDimensions + kDimensions * (kDimensions + 1) / 4) / kRows;
  EXPECT_NEAR(Distance(NormalRows(4000, 16, 1), NormalRows(4000, 16, 2)), bias, 0.25 * bias);
}

TEST(FrechetDistance, CancelsNothingFarFromTheOrigin) {
  const at::Tensor x = WhiteRows(50, 4, 1);
  EXPECT_NEAR(Distance(x + 1e6, 2 * x + 1e6), 4, 1e-6);
}

}  // namespace
}  // namespace denoise
