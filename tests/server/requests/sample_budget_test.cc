#include "server/requests/sample_budget.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>

#include "core/base/retry.h"

namespace denoise {
namespace {

TEST(SampleBudget, RefusesWhatTheOthersLeaveNoRoomForUntilTheyGo) {
  SampleBudget budget(100);
  std::optional<SampleBudget::Reservation> first = *budget.Reserve(60);
  const auto second = budget.Reserve(40);
  ASSERT_TRUE(second.ok()) << "exactly what is left";
  const auto refused = budget.Reserve(1);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(GetRetryDelay(refused.status()).has_value());
  first.reset();
  EXPECT_TRUE(budget.Reserve(60).ok());
}

TEST(SampleBudget, ARefusalSaysWhatIsUsedAndAllowedAndWhatToDo) {
  SampleBudget budget(4 << 20);
  const auto held = budget.Reserve((2 << 20) + 1);
  EXPECT_EQ(budget.Reserve(2 << 20).status().message(),
            "too many results are unread: 3 of 4 MiB are reserved for them (--max-unread-mib), and "
            "this call needs up to 2 MiB. Retry in 1s");
}

TEST(SampleBudget, ServesACallThatExceedsItWhenItIsAlone) {
  SampleBudget budget(100);
  {
    const auto large = budget.Reserve(1000);
    EXPECT_TRUE(large.ok());
    EXPECT_FALSE(budget.Reserve(1).ok());
  }
  EXPECT_TRUE(budget.Reserve(1).ok());
}

TEST(SampleBudget, AMovedReservationIsGivenBackOnce) {
  SampleBudget budget(100);
  {
    SampleBudget::Reservation reservation = *budget.Reserve(100);
    SampleBudget::Reservation other;
    other = std::move(reservation);
    EXPECT_FALSE(budget.Reserve(1).ok());
  }
  const auto whole = budget.Reserve(100);
  EXPECT_TRUE(whole.ok());
  EXPECT_FALSE(budget.Reserve(1).ok());
}

}  // namespace
}  // namespace denoise
