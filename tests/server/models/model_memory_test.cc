#include "server/models/model_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <utility>
#include <vector>

#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

TEST(ModelMemory, WithoutALimitOnlyCounts) {
  std::vector<int64_t> heard;
  const auto memory = ModelMemory::Create(0, [&](int64_t bytes) { heard.push_back(bytes); });
  EXPECT_TRUE(memory->Holds(int64_t{1} << 60));
  auto first = memory->TryReserve(100);
  { const auto second = memory->TryReserve(200); }
  first.reset();
  EXPECT_THAT(heard, testing::ElementsAre(100, 300, 100, 0));
}

TEST(ModelMemory, HasALimit) {
  const auto memory = ModelMemory::Create(100);
  EXPECT_FALSE(memory->Holds(101));
  std::optional<ModelMemory::Reservation> first = memory->TryReserve(60);
  EXPECT_FALSE(memory->TryReserve(60).has_value());
  EXPECT_TRUE(memory->TryReserve(40).has_value());
  first.reset();
  EXPECT_TRUE(memory->TryReserve(100).has_value());
}

TEST(ModelMemory, AMovedReservationIsGivenBackOnce) {
  std::vector<int64_t> heard;
  const auto memory = ModelMemory::Create(100, [&](int64_t bytes) { heard.push_back(bytes); });
  {
    ModelMemory::Reservation a = *memory->TryReserve(10);
    ModelMemory::Reservation b = std::move(a);
    a = *memory->TryReserve(20);
    b = std::move(a);
    EXPECT_EQ(heard.back(), 30);
  }
  EXPECT_EQ(heard.back(), 0);
}

class ModelMemoryWait : public testing::Test {
 protected:
  // Ends once the wait has; the clock says when that began.
  std::future<void> Wait(int64_t seen) {
    auto wait = std::async(std::launch::async, [this, seen] {
      memory_->WaitForRelease(seen, clock_, clock_.Now() + absl::Seconds(10));
    });
    return wait;
  }

  FakeClock clock_;
  std::shared_ptr<ModelMemory> memory_ = ModelMemory::Create(100);
};

TEST_F(ModelMemoryWait, EndsWithTheNextRelease) {
  std::optional<ModelMemory::Reservation> reservation = memory_->TryReserve(60);
  auto wait = Wait(memory_->releases());
  clock_.AwaitDeadline();
  reservation.reset();
  wait.get();
}

TEST_F(ModelMemoryWait, DoesNotBeginIfOneHasBeenMissed) {
  const int64_t seen = memory_->releases();
  memory_->TryReserve(60).reset();
  Wait(seen).get();
}

TEST_F(ModelMemoryWait, EndsInTimeAndWhenItIsStopped) {
  auto first = Wait(0);
  clock_.AwaitDeadline();
  clock_.Advance(absl::Seconds(10));
  first.get();
  auto second = Wait(0);
  clock_.AwaitDeadline();
  memory_->Stop();
  second.get();
  Wait(0).get();
}

}  // namespace
}  // namespace denoise
