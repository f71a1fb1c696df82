#include "core/base/retry.h"

#include <gtest/gtest.h>

namespace denoise {
namespace {

TEST(Retry, TheDelayIsInTheStatus) {
  const absl::Status status = UnavailableRetryAfter("the queue is full", absl::Milliseconds(1500));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(std::string(status.message()), "the queue is full");
  EXPECT_EQ(GetRetryDelay(status), absl::Milliseconds(1500));
}

TEST(Retry, ZeroIsADelay) {
  EXPECT_EQ(GetRetryDelay(UnavailableRetryAfter("soon", absl::ZeroDuration())),
            absl::ZeroDuration());
}

TEST(Retry, OtherStatusesHaveNone) {
  EXPECT_EQ(GetRetryDelay(absl::OkStatus()), std::nullopt);
  EXPECT_EQ(GetRetryDelay(absl::UnavailableError("the queue is full")), std::nullopt);
}

}  // namespace
}  // namespace denoise
