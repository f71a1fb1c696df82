#include "server/connections/log_limit.h"

#include <gtest/gtest.h>

#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

TEST(LogLimit, AFloodBecomesALineASecondThatCountsWhatWasLeftOut) {
  FakeClock clock;
  LogLimit limit(&clock);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(limit.Take(), 0);
  for (int i = 0; i < 400; ++i) EXPECT_EQ(limit.Take(), std::nullopt);
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(limit.Take(), 400);
  EXPECT_EQ(limit.Take(), std::nullopt);
}

}  // namespace
}  // namespace denoise
