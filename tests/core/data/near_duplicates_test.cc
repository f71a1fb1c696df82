#include "core/data/near_duplicates.h"

#include <gtest/gtest.h>

#include <bit>
#include <random>

#include "tests/core/data/upload_testing.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

int64_t BruteForce(const std::vector<uint64_t>& hashes) {
  int64_t pictures = 0;
  for (size_t i = 0; i < hashes.size(); ++i) {
    for (size_t j = 0; j < hashes.size(); ++j) {
      if (i == j || std::popcount(hashes[i] ^ hashes[j]) > kMaxSimilarDistance) continue;
      ++pictures;
      break;
    }
  }
  return pictures;
}

// Clusters whose members differ from their centre in 0 to 6 bits.
std::vector<uint64_t> Clusters(unsigned seed, int clusters, uint64_t mask) {
  std::mt19937_64 random(seed);
  std::vector<uint64_t> hashes;
  for (int i = 0; i < clusters; ++i) {
    const uint64_t centre = random() & mask;
    for (int j = 0; j < 3; ++j) {
      uint64_t hash = centre;
      for (uint64_t flips = random() % 7; flips > 0; --flips) hash ^= uint64_t{1} << random() % 64;
      hashes.push_back(hash);
    }
  }
  return hashes;
}

NearDuplicates Find(const std::vector<uint64_t>& hashes, size_t max_examples = 20,
                    int64_t max_comparisons = int64_t{1} << 31) {
  const auto found = FindNearDuplicates(
      hashes, max_examples, [] { return absl::OkStatus(); }, max_comparisons);
  EXPECT_TRUE(found.ok()) << found.status();
  return found.value_or(NearDuplicates());
}

TEST(NearDuplicates, AgreeWithBruteForce) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    // Of every bit, and as hashes of drawings on white are: most bits 0.
    for (uint64_t mask : {~uint64_t{0}, uint64_t{0x00003c3c3c180000}}) {
      const std::vector<uint64_t> hashes = Clusters(seed, 100, mask);
      EXPECT_EQ(Find(hashes).pictures, BruteForce(hashes)) << seed;
    }
  }
}

TEST(NearDuplicates, EveryPairOfBitsThatMayDifferIsFound) {
  for (int distance = 1; distance <= kMaxSimilarDistance + 1; ++distance) {
    for (int shift = 0; shift < 64; ++shift) {
      for (int stride : {1, 7, 11, 13}) {
        uint64_t other = 0;
        for (int i = 0; i < distance; ++i) other |= uint64_t{1} << (shift + i * stride) % 64;
        const std::vector<uint64_t> hashes = {0, other};
        EXPECT_EQ(Find(hashes).pictures, distance <= kMaxSimilarDistance ? 2 : 0);
      }
    }
  }
}

TEST(NearDuplicates, ExamplesAreTheMostSimilarWithoutRepeats) {
  const std::vector<uint64_t> hashes = {0xff00, 7, 0xff00, 0xff01, 0x7f << 20};
  const NearDuplicates all = Find(hashes);
  EXPECT_EQ(all.pictures, 3);
  EXPECT_THAT(all.examples, ElementsAre(SimilarPair{0, 2, 0}, SimilarPair{0, 3, 1}));
  EXPECT_THAT(Find(hashes, 1).examples, ElementsAre(SimilarPair{0, 2, 0}));
  EXPECT_THAT(Find({}).examples, IsEmpty());
}

TEST(NearDuplicates, AHundredThousandEqualHashesTakeNoComparisons) {
  const std::vector<uint64_t> hashes(100'000, 42);
  const NearDuplicates found = Find(hashes, 20, 0);
  EXPECT_EQ(found.pictures, 100'000);
  EXPECT_EQ(found.examples.size(), 20u);
}

TEST(NearDuplicates, TheSearchEndsAfterTheMaximumOfComparisons) {
  const std::vector<uint64_t> hashes = {0xff, 0, 1};  // the first is compared first
  EXPECT_EQ(Find(hashes, 20, 0).pictures, 0);
  EXPECT_EQ(Find(hashes, 20, 1000).pictures, 2);
}

// Hashes that share two bands, so that all are compared with all, and yet are far from each other.
std::vector<uint64_t> FarApart(int count) {
  std::mt19937_64 random(1);
  std::vector<uint64_t> hashes;
  for (int i = 0; i < count; ++i) hashes.push_back(random() << 22);
  return hashes;
}

TEST(NearDuplicates, ASearchCanBeCancelled) {
  const std::vector<uint64_t> hashes = FarApart(60'000);  // 1.8 billion pairs
  int checks = 0;
  const auto stop = [&] {
    return ++checks < 3 ? absl::OkStatus() : absl::UnavailableError("the server stops");
  };
  const auto found = FindNearDuplicates(hashes, 20, stop);
  ExpectStatus(found.status(), absl::StatusCode::kUnavailable, "the server stops");
  EXPECT_EQ(checks, 3);
}

TEST(NearDuplicates, ASearchChecksForCancellationEveryMillionComparisons) {
  int checks = 0;
  const auto count = [&] {
    ++checks;
    return absl::OkStatus();
  };
  ASSERT_TRUE(FindNearDuplicates(FarApart(60'000), 20, count, 16'000'000).ok());
  EXPECT_GE(checks, 14);
}

Image Ramp(int width, int height, int channels, int gain) {
  Image image{width, height, channels, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      // Rises to the right in the upper half, falls in the lower.
      const int position = (y < height / 2 ? x : width - 1 - x) * 9 / width;
      for (int c = 0; c < channels; ++c) {
        image.pixels.push_back(static_cast<uint8_t>(c == 3 ? 255 : position * gain));
      }
    }
  }
  return image;
}

TEST(DifferenceHash, SaysWhereAPictureGrowsBrighter) {
  EXPECT_EQ(DifferenceHash(Ramp(90, 80, 1, 10)), 0xffffffff00000000u);
}

TEST(DifferenceHash, DoesNotDependOnSizeChannelsOrContrast) {
  const uint64_t hash = DifferenceHash(Ramp(90, 80, 1, 10));
  EXPECT_EQ(DifferenceHash(Ramp(180, 400, 3, 10)), hash);
  EXPECT_EQ(DifferenceHash(Ramp(27, 16, 4, 25)), hash);
}

TEST(DifferenceHash, TakesPicturesSmallerThanItsCells) {
  EXPECT_EQ(DifferenceHash(TestImage(1, 1, 3)), 0u);
  EXPECT_EQ(DifferenceHash(Image{2, 1, 1, {0, 255}}), 0x0808080808080808u);
}

}  // namespace
}  // namespace denoise
