#include "server/rpc/live_calls.h"

#include <gtest/gtest.h>

#include <future>

#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

TEST(LiveCalls, AWaitEndsWithTheLastCall) {
  FakeClock clock;
  LiveCalls calls(&clock);
  calls.WaitUntilNone(absl::InfiniteFuture());
  calls.Add();
  calls.Add();
  auto none =
      std::async(std::launch::async, [&] { calls.WaitUntilNone(clock.Now() + absl::Hours(1)); });
  clock.AwaitDeadline();
  calls.Remove();
  clock.AwaitDeadline();  // it still waits
  calls.Remove();
  none.get();
}

TEST(LiveCalls, AWaitEndsAtItsDeadline) {
  FakeClock clock;
  LiveCalls calls(&clock);
  calls.Add();
  calls.WaitUntilNone(absl::InfinitePast());
  auto none =
      std::async(std::launch::async, [&] { calls.WaitUntilNone(clock.Now() + absl::Hours(1)); });
  clock.AwaitDeadline();
  clock.Advance(absl::Hours(1));
  none.get();
  calls.Remove();
}

TEST(LiveCalls, NoneIsAdmittedWhileTheServerDrains) {
  LiveCalls calls(&Clock::Real());
  EXPECT_TRUE(calls.AdmitNewCall().ok());
  EXPECT_TRUE(calls.CheckNotDraining().ok());
  calls.StartDraining();
  EXPECT_TRUE(absl::IsUnavailable(calls.AdmitNewCall()));
  EXPECT_TRUE(absl::IsUnavailable(calls.CheckNotDraining()));
}

TEST(LiveCalls, ShortageOfMemoryRefusesNewCallsOnly) {
  LiveCalls calls(&Clock::Real(), [] { return absl::UnavailableError("short of memory"); });
  EXPECT_TRUE(absl::IsUnavailable(calls.AdmitNewCall()));
  EXPECT_TRUE(calls.CheckNotDraining().ok());
}

}  // namespace
}  // namespace denoise
