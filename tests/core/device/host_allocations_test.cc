#include "core/device/host_allocations.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>
#include <vector>

namespace denoise {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

at::Tensor OfMiB(int64_t size) { return at::empty({size * kMiB}, at::kByte); }

// What the heap adds to a block.
constexpr int64_t kTolerance = kMiB / 8;

TEST(PeakHostMemory, IsTheMostThatIsHeldAtOnce) {
  const int64_t peak = PeakHostMemory([] {
    { const std::vector<at::Tensor> together = {OfMiB(3), OfMiB(4)}; }
    { const at::Tensor alone = OfMiB(5); }
  });
  EXPECT_NEAR(peak, 7 * kMiB, kTolerance);
}

TEST(PeakHostMemory, CountsFromWhatIsHeldBefore) {
  at::Tensor kept = OfMiB(8);
  const int64_t peak = PeakHostMemory([&] {
    kept = at::Tensor();
    kept = OfMiB(9);
  });
  EXPECT_NEAR(peak, kMiB, kTolerance);
  EXPECT_EQ(PeakHostMemory([] {}), 0);
}

TEST(PeakHostMemory, MayBeNested) {
  int64_t inner = 0;
  const int64_t outer = PeakHostMemory([&] {
    { const at::Tensor before = OfMiB(6); }
    inner = PeakHostMemory([] { OfMiB(2); });
  });
  EXPECT_NEAR(inner, 2 * kMiB, kTolerance);
  EXPECT_NEAR(outer, 6 * kMiB, kTolerance);
}

TEST(PeakHostMemory, IsOfOneThread) {
  const int64_t peak = PeakHostMemory([] { std::thread([] { OfMiB(4); }).join(); });
  EXPECT_EQ(peak, 0);
}

TEST(PeakHostMemory, SurvivesWorkThatThrows) {
  EXPECT_THROW(PeakHostMemory([] {
                 const at::Tensor lost = OfMiB(4);
                 throw std::runtime_error("an error");
               }),
               std::runtime_error);
  EXPECT_NEAR(PeakHostMemory([] { OfMiB(1); }), kMiB, kTolerance);
}

}  // namespace
}  // namespace denoise
