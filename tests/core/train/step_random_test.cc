#include "core/train/step_random.h"

#include <gtest/gtest.h>

#include <set>

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
TEST(StepRandom, StaysWhatItIs) {
  EXPECT_EQ(MixBits(0x9e3779b97f4a7c15u), 0xe220a8397b1dcdafu);  // SplitMix64's first of seed 0
  EXPECT_EQ(RandomBits(42, RandomPurpose::kNoise, 7, 5), 6692886326895942730u);
}

TEST(StepRandom, ARunThatWentBackDrawsAnewFromThereOn) {
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

}  // namespace
}  // namespace denoise
