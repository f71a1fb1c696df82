#include "core/train/epoch_order.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace denoise {
namespace {

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

TEST(EpochOrder, IsAnotherOneForEachEpochAndSeed) {
  EXPECT_EQ(OrderOf(100, 1, 2), OrderOf(100, 1, 2));
  EXPECT_NE(OrderOf(100, 1, 2), OrderOf(100, 1, 3));
  EXPECT_NE(OrderOf(100, 1, 2), OrderOf(100, 2, 2));
}

// Of a few pictures every one must come to every place about as often.
TEST(EpochOrder, PrefersNoPictureAndNoPlace) {
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

TEST(EpochOrder, KnowsDataSetsThatNoMemoryHolds) {
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

}  // namespace
}  // namespace denoise
