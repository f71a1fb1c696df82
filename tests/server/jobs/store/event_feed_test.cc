#include "server/jobs/store/event_feed.h"

#include <gtest/gtest.h>

namespace denoise {
namespace {

TEST(EventFeed, WakesTheWatchersOfThatJobAlone) {
  EventFeed feed;
  int first = 0, second = 0;
  const auto one = feed.Subscribe(1, [&] { ++first; });
  const auto two = feed.Subscribe(2, [&] { ++second; });

  feed.Notify(1);
  feed.Notify(1);
  feed.Notify(3);

  EXPECT_EQ(first, 2);
  EXPECT_EQ(second, 0);
  feed.NotifyAll();
  EXPECT_EQ(first, 3);
  EXPECT_EQ(second, 1);
}

TEST(EventFeed, ASubscriptionEndsWithItsObject) {
  EventFeed feed;
  int woken = 0;
  auto subscription = feed.Subscribe(1, [&] { ++woken; });

  subscription.reset();
  feed.Notify(1);

  EXPECT_EQ(woken, 0);
}

}  // namespace
}  // namespace denoise
