#include "core/evaluation/set_metrics.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/core/evaluation/random_rows.h"

namespace denoise {
namespace {

// Features of one dimension.
at::Tensor Line(const std::vector<float>& places) { return at::tensor(places).unsqueeze(1); }

SetMetrics Compare(const at::Tensor& samples, const at::Tensor& real, int nearest_neighbours) {
  const absl::StatusOr<SetMetrics> metrics = CompareSets(samples, real, nearest_neighbours);
  EXPECT_TRUE(metrics.ok()) << metrics.status();
  return metrics.value_or(SetMetrics());
}

using Rows = std::vector<std::vector<double>>;

Rows ToRows(const at::Tensor& features) {
  Rows rows;
  for (int64_t i = 0; i < features.size(0); ++i) {
    for (rows.emplace_back(); static_cast<int64_t>(rows[i].size()) < features.size(1);) {
      rows[i].push_back(features[i][static_cast<int64_t>(rows[i].size())].item<double>());
    }
  }
  return rows;
}

double Distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t d = 0; d < a.size(); ++d) sum += (a[d] - b[d]) * (a[d] - b[d]);
  return std::sqrt(sum);
}

std::vector<double> Radii(const Rows& rows, int k) {
  std::vector<double> radii;
  for (const auto& row : rows) {
    std::vector<double> distances;
    for (const auto& other : rows) distances.push_back(Distance(row, other));
    std::sort(distances.begin(), distances.end());
    radii.push_back(distances[k]);  // the first is the row's own
  }
  return radii;
}

// Precision, recall, density and coverage by the definitions, one pair at a time.
SetMetrics ByTheDefinitions(const Rows& samples, const Rows& real, int k) {
  const std::vector<double> sample_radii = Radii(samples, k), real_radii = Radii(real, k);
  std::vector<bool> precise(samples.size()), recalled(real.size()), covered(real.size());
  SetMetrics metrics;
  for (size_t i = 0; i < samples.size(); ++i) {
    for (size_t j = 0; j < real.size(); ++j) {
      const double distance = Distance(samples[i], real[j]);
      if (distance <= sample_radii[i]) recalled[j] = true;
      if (distance > real_radii[j]) continue;
      precise[i] = covered[j] = true;
      metrics.density += 1.0 / (k * static_cast<double>(samples.size()));
    }
  }
  const auto part = [](const std::vector<bool>& flags) {
    return static_cast<double>(std::count(flags.begin(), flags.end(), true)) /
           static_cast<double>(flags.size());
  };
  metrics.precision = part(precise);
  metrics.recall = part(recalled);
  metrics.coverage = part(covered);
  return metrics;
}

// Real ones at 0, 1, 3 and 10, whose nearest neighbours are 1, 1, 2 and 7 away. Samples at 0.5,
// 1.5, 20 and 21, whose nearest neighbours are 1, 1, 1 and 1 away.
TEST(CompareSets, CountsByHand) {
  const SetMetrics metrics = Compare(Line({0.5, 1.5, 20, 21}), Line({0, 1, 3, 10}), 1);
  EXPECT_DOUBLE_EQ(metrics.precision, 2.0 / 4);  // 0.5 and 1.5
  EXPECT_DOUBLE_EQ(metrics.recall, 2.0 / 4);     // 0 and 1
  // 0.5 is in the balls of 0 and 1, 1.5 in those of 1 and 3.
  EXPECT_DOUBLE_EQ(metrics.density, 4.0 / 4);
  EXPECT_DOUBLE_EQ(metrics.coverage, 3.0 / 4);
}

// With two neighbours the balls reach 3, 2, 3 and 9.
TEST(CompareSets, CountsByHandWithTwoNeighbours) {
  const SetMetrics metrics = Compare(Line({0.5, 2.5, 20}), Line({0, 1, 3, 10}), 2);
  EXPECT_DOUBLE_EQ(metrics.precision, 2.0 / 3);
  // 0.5 is in the balls of 0, 1 and 3, 2.5 in those and in that of 10.
  EXPECT_DOUBLE_EQ(metrics.density, 7.0 / (2 * 3));
  EXPECT_DOUBLE_EQ(metrics.coverage, 1);
  EXPECT_DOUBLE_EQ(metrics.recall, 1);  // the balls of the samples reach 19.5, 17.5 and 19.5
}

// 1300 and 1100 rows: several tiles, the last ones of odd sizes.
TEST(CompareSets, AgreesWithTheDefinitionsAcrossTiles) {
  const at::Tensor real = NormalRows(1300, 3, 1) + 10,
                   samples = 0.8 * NormalRows(1100, 3, 2) + 10.5;
  const SetMetrics expected = ByTheDefinitions(ToRows(samples), ToRows(real), 3);
  const SetMetrics metrics = Compare(samples, real, 3);
  EXPECT_NEAR(metrics.precision, expected.precision, 1e-3);  // the balls' slack may let in one more
  EXPECT_NEAR(metrics.recall, expected.recall, 1e-3);
  EXPECT_NEAR(metrics.density, expected.density, 1e-3);
  EXPECT_NEAR(metrics.coverage, expected.coverage, 1e-3);
  EXPECT_GT(metrics.coverage, 0.1);  // not trivial
  EXPECT_LT(metrics.coverage, 0.9);
}

TEST(CompareSets, IdenticalSetsAreMaximallySimilar) {
  const at::Tensor real = NormalRows(200, 30, 1) + 5;
  const SetMetrics metrics = Compare(real, real, 3);
  EXPECT_LT(metrics.frechet_distance, 1e-5);
  EXPECT_EQ(metrics.precision, 1);
  EXPECT_EQ(metrics.recall, 1);
  EXPECT_EQ(metrics.coverage, 1);
  EXPECT_DOUBLE_EQ(metrics.density,
                   (3.0 + 1) / 3);  // k neighbours and itself, on the sphere or in it
}

// Features of one picture from two batches differ in their last digits.
TEST(CompareSets, RoundingOfFloat32ChangesNothing) {
  const at::Tensor real = NormalRows(200, 30, 1) + 5;
  const at::Tensor samples = real * (1 + 1e-7 * NormalRows(200, 30, 2));
  EXPECT_DOUBLE_EQ(Compare(samples, real, 3).density, (3.0 + 1) / 3);
}

TEST(CompareSets, DisjointSetsShareNothing) {
  const at::Tensor real = NormalRows(100, 8, 1);
  const SetMetrics metrics = Compare(NormalRows(150, 8, 2) + 100, real, 5);
  EXPECT_NEAR(metrics.frechet_distance, 8 * 100 * 100, 2000);
  EXPECT_EQ(metrics.precision, 0);
  EXPECT_EQ(metrics.recall, 0);
  EXPECT_EQ(metrics.density, 0);
  EXPECT_EQ(metrics.coverage, 0);
}

// A coverage of 1 - 2^-k is expected: of a picture's 2k nearest of both sets about half are samples
// (Naeem et al. 2020).
TEST(CompareSets, SamplesOfOneDistributionHaveTheDensityAndCoverageThatTheoryExpects) {
  const SetMetrics metrics = Compare(NormalRows(1500, 16, 1), NormalRows(1500, 16, 2), 3);
  EXPECT_NEAR(metrics.density, 1, 0.1);
  EXPECT_NEAR(metrics.coverage, 1 - 1.0 / 8, 0.03);
}

// Two modes of 3 to 1; the samples have the smaller one only.
TEST(CompareSets, CollapseOntoOneModeIsLowRecallAndCoverageAtFullPrecision) {
  const at::Tensor far = at::full({16}, 50.0);
  const at::Tensor real = at::cat({NormalRows(300, 16, 1), NormalRows(100, 16, 2) + far});
  const at::Tensor samples = 0.7 * NormalRows(400, 16, 3) + far;  // well inside
  const SetMetrics metrics = Compare(samples, real, 5);
  EXPECT_GT(metrics.precision, 0.99);
  EXPECT_NEAR(metrics.coverage, 0.25, 0.02);
  EXPECT_LE(metrics.recall, 0.25);
  EXPECT_GT(metrics.frechet_distance, 1000);
}

TEST(CompareSets, CopiesOfOnePictureOnlyRecallThatPicture) {
  const at::Tensor real = NormalRows(50, 8, 1) + 3;
  const SetMetrics metrics = Compare(real.narrow(0, 7, 1).expand({40, 8}), real, 3);
  EXPECT_EQ(metrics.precision, 1);
  EXPECT_DOUBLE_EQ(metrics.recall, 1.0 / 50);
}

// Where float32 products, or the origin as the centre, would leave nothing of the distances.
TEST(CompareSets, SmallDifferencesFarFromTheOriginCount) {
  const at::Tensor real = 1e-3 * NormalRows(300, 8, 1, at::kDouble);
  const at::Tensor samples = 1e-3 * NormalRows(300, 8, 2, at::kDouble);
  const SetMetrics near = Compare(samples, real, 3), far = Compare(samples + 1e4, real + 1e4, 3);
  EXPECT_EQ(far.precision, near.precision);
  EXPECT_EQ(far.recall, near.recall);
  EXPECT_EQ(far.density, near.density);
  EXPECT_EQ(far.coverage, near.coverage);
}

TEST(CompareSets, SaysWhatIsWrong) {
  const at::Tensor rows = NormalRows(5, 3, 1);
  const auto message = [](const at::Tensor& samples, const at::Tensor& real, int k) {
    return std::string(CompareSets(samples, real, k).status().message());
  };
  EXPECT_EQ(message(rows, rows, 0), "nearest_neighbours must be at least 1, is 0");
  EXPECT_EQ(message(rows, rows, 5), "samples must have at least 6 rows, has 5");
  EXPECT_EQ(message(NormalRows(6, 3, 1), rows, 5), "real must have at least 6 rows, has 5");
  EXPECT_EQ(message(rows[0], rows, 1), "samples must be rows of float32 or double");
  EXPECT_EQ(message(rows, rows.to(at::kLong), 1), "real must be rows of float32 or double");
  EXPECT_EQ(message(rows, NormalRows(5, 4, 1), 1),
            "samples and real must have the same number of features and be on the same device");
  at::Tensor broken = rows.clone();
  broken[3][1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(message(rows, broken, 1), "real must be finite");
}

TEST(SetComparison, CountsItsSlices) {
  const at::Tensor real = NormalRows(1300, 3, 1), samples = NormalRows(100, 200, 2);
  SetComparison comparison = *SetComparison::Create(real, real, 3);
  // Of each set two tiles fitted, the fit and three tiles of distances; then one and four.
  EXPECT_EQ(comparison.slices_total(), 2 * (2 + 1 + 3) + 1 + 4);
  int64_t slices = 0;
  for (; !comparison.done(); ++slices) {
    EXPECT_EQ(comparison.slices_done(), slices);
    comparison.RunSlice();
  }
  EXPECT_EQ(slices, comparison.slices_total());
  EXPECT_EQ(comparison.result(), Compare(real, real, 3));
}

}  // namespace
}  // namespace denoise
