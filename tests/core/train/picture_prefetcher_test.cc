#include "core/train/picture_prefetcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

namespace denoise {
namespace {

using namespace std::chrono_literals;

Image PictureOf(int64_t position) { return {1, 1, 1, {static_cast<uint8_t>(position)}}; }

// Comes at different times, so that threads overtake each other.
absl::StatusOr<Image> MakeSlowly(int64_t position) {
  std::this_thread::sleep_for(position % 3 * 1ms);
  return PictureOf(position);
}

TEST(PicturePrefetcher, HandsOutPicturesInOrder) {
  for (const int threads : {1, 2, 5}) {
    PicturePrefetcher prefetcher(MakeSlowly, threads, 4);
    for (int64_t position = 0; position < 50; ++position) {
      EXPECT_EQ(*prefetcher.Take(position), PictureOf(position));
    }
  }
}

TEST(PicturePrefetcher, StartsAnewWhereItIsAsked) {
  PicturePrefetcher prefetcher(MakeSlowly, 3, 4);
  for (const int64_t position : {0, 1, 2, 100, 101, 7, 8, 9, 7, 7}) {
    EXPECT_EQ(*prefetcher.Take(position), PictureOf(position));
  }
}

TEST(PicturePrefetcher, NeverRunsFurtherAheadThanItsCapacity) {
  constexpr int64_t kCapacity = 5;
  std::atomic<int64_t> furthest = 0, made = 0;
  PicturePrefetcher prefetcher(
      [&](int64_t position) -> absl::StatusOr<Image> {
        ++made;
        furthest = std::max(furthest.load(), position);
        return PictureOf(position);
      },
      1, kCapacity);
  EXPECT_EQ(made, 0);
  for (int64_t position = 0; position < 20; ++position) {
    ASSERT_TRUE(prefetcher.Take(position).ok());
    while (made < position + 1 + kCapacity) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(1ms);
    EXPECT_EQ(furthest, position + kCapacity);
  }
}

TEST(PicturePrefetcher, HandsOverAnErrorAndTriesAgain) {
  std::atomic<bool> broken = true;
  PicturePrefetcher prefetcher(
      [&](int64_t position) -> absl::StatusOr<Image> {
        if (broken && position == 3) return absl::DataLossError("three");
        return PictureOf(position);
      },
      2, 4);
  for (int64_t position = 0; position < 3; ++position) EXPECT_TRUE(prefetcher.Take(position).ok());
  EXPECT_EQ(prefetcher.Take(3).status(), absl::DataLossError("three"));
  EXPECT_EQ(prefetcher.Take(3).status(), absl::DataLossError("three"));
  broken = false;
  EXPECT_EQ(*prefetcher.Take(3), PictureOf(3));
  EXPECT_EQ(*prefetcher.Take(4), PictureOf(4));
}

// A picture that was begun before a new start fails after it, while it is being made once more.
TEST(PicturePrefetcher, ForgetsWhatWasBegunBeforeANewStart) {
  std::atomic<int> attempts = 0;
  PicturePrefetcher prefetcher(
      [&](int64_t position) -> absl::StatusOr<Image> {
        if (position != 1) return PictureOf(position);
        if (++attempts == 1) {
          while (attempts < 2) std::this_thread::sleep_for(1ms);
          return absl::DataLossError("stale");
        }
        std::this_thread::sleep_for(20ms);
        return PictureOf(position);
      },
      2, 4);
  EXPECT_TRUE(prefetcher.Take(0).ok());
  while (attempts < 1) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(*prefetcher.Take(100), PictureOf(100));
  EXPECT_EQ(*prefetcher.Take(1), PictureOf(1));
}

TEST(PicturePrefetcher, EndsWhereNobodyTakesWhatItHasMade) {
  PicturePrefetcher unused(MakeSlowly, 2, 4);
  PicturePrefetcher full(MakeSlowly, 2, 4);
  EXPECT_TRUE(full.Take(0).ok());
}

}  // namespace
}  // namespace denoise
