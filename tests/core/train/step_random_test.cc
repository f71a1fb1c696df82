#include "core/train/step_random.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace denoise {
namespace {

TEST(StepRandom, DiffersInEverySeedPurposeStepAndRow) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    for (const auto purpose : {RandomPurpose::kFlip, RandomPurpose::kNoise}) {
      for (int64_t step = 0; step < 32; ++step) {
        for (int64_t row = 0; row < 32; ++row) seen.insert(RandomBits(seed, purpose, step, row));
      }
    }
  }
  EXPECT_EQ(seen.size(), 8u * 2 * 32 * 32);
}

// Its values are part of what a seed means, today and in any later version.
TEST(StepRandom, NeverChanges) {
  EXPECT_EQ(MixBits(0x9e3779b97f4a7c15u), 0xe220a8397b1dcdafu);  // SplitMix64's first of seed 0
  EXPECT_EQ(RandomBits(42, RandomPurpose::kNoise, 7, 5), 6692886326895942730u);
}

TEST(StepRandom, ARollBackDrawsDifferentNumbersFromThereOn) {
  EXPECT_EQ(SeedOfStep(42, 1, std::nullopt), 42u);
  EXPECT_EQ(SeedOfStep(42, 500, 500), 42u);
  EXPECT_EQ(SeedOfStep(42, 501, 500), SeedOfStep(42, 9999, 500));

  EXPECT_EQ((std::set<uint64_t>{42, SeedOfStep(42, 501, 500), SeedOfStep(42, 501, 499),
                                SeedOfStep(42, 501, 0), SeedOfStep(43, 501, 500)})
                .size(),
            5u);
  EXPECT_EQ(SeedOfStep(42, 501, 500), 10394571199526087055u);
}

TEST(StepRandom, UnitsAreUniform) {
  constexpr int kBins = 10, kDraws = 20000;
  int counts[kBins] = {};
  for (int step = 0; step < kDraws / 100; ++step) {
    for (int row = 0; row < 100; ++row) {
      const double unit = RandomUnit(9, RandomPurpose::kCropLeft, step, row);
      ASSERT_GE(unit, 0);
      ASSERT_LT(unit, 1);
      ++counts[static_cast<int>(unit * kBins)];
    }
  }
  double chi_squared = 0;
  constexpr double kExpected = kDraws / double{kBins};
  for (const int count : counts)
    chi_squared += (count - kExpected) * (count - kExpected) / kExpected;
  EXPECT_LT(chi_squared, 27.9);  // 9 degrees of freedom, p = 0.001
}

std::vector<int64_t> OrderOf(int64_t pictures, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order;
  for (int64_t i = 0; i < pictures; ++i) order.push_back(PictureAt(i, pictures, seed, epoch));
  return order;
}

TEST(EpochOrder, ShowsEveryPictureOnce) {
  for (const int64_t pictures : {1, 2, 3, 4, 5, 16, 17, 255, 256, 257, 1000, 4097}) {
    const std::vector<int64_t> order = OrderOf(pictures, 1, 2);
    const std::set<int64_t> shown(order.begin(), order.end());
    EXPECT_EQ(static_cast<int64_t>(shown.size()), pictures);
    EXPECT_EQ(*shown.begin(), 0);
    EXPECT_EQ(*shown.rbegin(), pictures - 1);
  }
}

TEST(EpochOrder, DiffersForEachEpochAndSeed) {
  EXPECT_EQ(OrderOf(100, 1, 2), OrderOf(100, 1, 2));
  EXPECT_NE(OrderOf(100, 1, 2), OrderOf(100, 1, 3));
  EXPECT_NE(OrderOf(100, 1, 2), OrderOf(100, 2, 2));
}

// Of a few pictures every one must come to every place about as often.
TEST(EpochOrder, IsUniform) {
  constexpr int64_t kPictures = 7, kEpochs = 7000;
  int counts[kPictures][kPictures] = {};
  int follows[kPictures][kPictures] = {};
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const std::vector<int64_t> order = OrderOf(kPictures, 9, epoch);
    for (size_t i = 0; i < order.size(); ++i) {
      ++counts[i][order[i]];
      if (i > 0) ++follows[order[i - 1]][order[i]];
    }
  }
  for (int64_t i = 0; i < kPictures; ++i) {
    for (int64_t j = 0; j < kPictures; ++j) {
      EXPECT_NEAR(counts[i][j], 1000, 150) << i << " " << j;  // 5 standard deviations
      EXPECT_NEAR(follows[i][j], i == j ? 0 : 1000, 150) << i << " " << j;
    }
  }
}

TEST(EpochOrder, WorksForDataSetsLargerThanMemory) {
  constexpr int64_t kPictures = int64_t{1} << 40;
  std::set<int64_t> shown;
  for (int64_t i = 0; i < 1000; ++i) {
    const int64_t picture = PictureAt(i, kPictures, 0, 0);
    EXPECT_GE(picture, 0);
    EXPECT_LT(picture, kPictures);
    shown.insert(picture);
  }
  EXPECT_EQ(shown.size(), 1000u);
}

TEST(StepDraws, NoiseDoesNotDependOnTheSplitIntoNetworkCalls) {
  const at::Tensor whole = StepNoise(3, 10, 0, {5, 3, 4, 4});
  const at::Tensor parts =
      at::cat({StepNoise(3, 10, 0, {2, 3, 4, 4}), StepNoise(3, 10, 2, {3, 3, 4, 4})});
  EXPECT_TRUE(at::equal(whole, parts));
  EXPECT_FALSE(at::equal(whole[0], whole[1]));
  EXPECT_FALSE(at::equal(whole, StepNoise(3, 11, 0, {5, 3, 4, 4})));
  EXPECT_FALSE(at::equal(whole, StepNoise(4, 10, 0, {5, 3, 4, 4})));
}

TEST(StepDraws, NoiseIsStandardNormal) {
  const at::Tensor noise = StepNoise(0, 1, 0, {64, 1, 16, 16});
  EXPECT_NEAR(noise.mean().item<double>(), 0, 0.03);
  EXPECT_NEAR(noise.std().item<double>(), 1, 0.03);
}

TEST(StepDraws, DropsTheGivenFractionOfLabels) {
  constexpr int kRows = 4000;
  const at::Tensor labels = at::full({kRows}, 3, at::kLong);
  const at::Tensor dropped = DropLabels(5, 1, 0, labels, 0.2, 9);
  EXPECT_NEAR((dropped == 9).sum().item<double>() / kRows, 0.2, 0.03);
  EXPECT_EQ(((dropped == 9) + (dropped == 3)).sum().item<int64_t>(), kRows);
  EXPECT_TRUE(at::equal(labels, at::full({kRows}, 3, at::kLong)));
  EXPECT_TRUE(at::equal(dropped.slice(0, 1000, 1500),
                        DropLabels(5, 1, 1000, labels.slice(0, 1000, 1500), 0.2, 9)));
  EXPECT_EQ((DropLabels(5, 1, 0, labels, 1, 9) == 9).sum().item<int64_t>(), kRows);
}

}  // namespace
}  // namespace denoise
