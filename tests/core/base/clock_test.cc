#include "core/base/clock.h"

#include <gtest/gtest.h>

#include <future>

#include "absl/time/clock.h"
#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

TEST(Clock, TheRealClockTellsTheTime) {
  const absl::Time before = absl::Now();
  const absl::Time now = Clock::Real().Now();
  EXPECT_LE(before, now);
  EXPECT_LE(now, absl::Now());
}

// A thread that waits for `clock` to reach `deadline`, or for `condition`, and says which it was.
std::future<bool> WaitForDeadline(const Clock& clock, absl::Time deadline, Mutex& mutex,
                                  CondVar& condition, const bool& notified) {
  return std::async(std::launch::async, [&, deadline] {
    const MutexLock lock(mutex);
    while (!notified && clock.Now() < deadline) clock.WaitUntil(condition, mutex, deadline);
    return !notified;
  });
}

TEST(Clock, TheRealOneWakesAtTheDeadline) {
  Mutex mutex;
  CondVar condition;
  const bool notified = false;
  const absl::Time soon = absl::Now() + absl::Milliseconds(1);
  EXPECT_TRUE(WaitForDeadline(Clock::Real(), soon, mutex, condition, notified).get());
}

TEST(Clock, AFakeOneWakesAtTheDeadlineAndNotBefore) {
  FakeClock clock;
  Mutex mutex;
  CondVar condition;
  const bool notified = false;
  auto woken = WaitForDeadline(clock, clock.Now() + absl::Hours(2), mutex, condition, notified);
  clock.AwaitDeadline();
  clock.Advance(absl::Hours(1));
  clock.AwaitDeadline();  // it still waits
  clock.Advance(absl::Hours(1));
  EXPECT_TRUE(woken.get());
}

TEST(Clock, WhoWaitsForADeadlineHearsANotification) {
  FakeClock clock;
  Mutex mutex;
  CondVar condition;
  bool notified = false;
  for (const absl::Time deadline : {clock.Now() + absl::Hours(1), absl::InfiniteFuture()}) {
    notified = false;
    auto woken = WaitForDeadline(clock, deadline, mutex, condition, notified);
    {
      const MutexLock lock(mutex);
      notified = true;
    }
    condition.NotifyAll();
    EXPECT_FALSE(woken.get());
  }
}

}  // namespace
}  // namespace denoise
