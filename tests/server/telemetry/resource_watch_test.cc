#include "server/telemetry/resource_watch.h"

#include <gtest/gtest.h>

#include <future>

#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

TEST(ResourceWatch, LooksAtOnceAndAgainAfterEachInterval) {
  FakeClock clock;
  int looks = 0;
  std::promise<void> first, second;
  const ResourceWatch watch({[&] {
                              if (++looks == 1) first.set_value();
                              if (looks == 2) second.set_value();
                            }},
                            absl::Seconds(5), &clock);
  first.get_future().get();
  clock.AwaitDeadline();
  clock.Advance(absl::Seconds(5));
  second.get_future().get();
}

TEST(ResourceWatch, EndsWhileItWaits) {
  FakeClock clock;
  const ResourceWatch watch({[] {}}, absl::Seconds(5), &clock);
  clock.AwaitDeadline();
}

}  // namespace
}  // namespace denoise
