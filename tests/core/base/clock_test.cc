#include "core/base/clock.h"

#include <gtest/gtest.h>

#include "absl/time/clock.h"

namespace denoise {
namespace {

TEST(Clock, TheRealClockTellsTheTime) {
  const absl::Time before = absl::Now();
  const absl::Time now = Clock::Real().Now();
  EXPECT_LE(before, now);
  EXPECT_LE(now, absl::Now());
}

}  // namespace
}  // namespace denoise
