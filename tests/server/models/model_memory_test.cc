#include "server/models/model_memory.h"

#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <utility>

namespace denoise {
namespace {

TEST(ModelMemory, WithoutALimitOnlyCounts) {
  const auto memory = ModelMemory::Create(0);
  EXPECT_TRUE(memory->Holds(int64_t{1} << 60));
  auto first = memory->Reserve(100);
  {
    const auto second = memory->Reserve(200);
    EXPECT_EQ(memory->bytes(), 300);
  }
  EXPECT_EQ(memory->bytes(), 100);
  first.reset();
  EXPECT_EQ(memory->bytes(), 0);
}

TEST(ModelMemory, WaitsUntilThereIsRoom) {
  const auto memory = ModelMemory::Create(100);
  EXPECT_FALSE(memory->Holds(101));
  std::optional<ModelMemory::Reservation> first = memory->Reserve(60);
  auto second = std::async(std::launch::async, [&] { return memory->Reserve(60).has_value(); });
  EXPECT_EQ(memory->bytes(), 60);
  first.reset();
  EXPECT_TRUE(second.get());
}

TEST(ModelMemory, AMovedReservationIsGivenBackOnce) {
  const auto memory = ModelMemory::Create(100);
  {
    ModelMemory::Reservation a = *memory->Reserve(10);
    ModelMemory::Reservation b = std::move(a);
    a = *memory->Reserve(20);
    b = std::move(a);
    EXPECT_EQ(memory->bytes(), 30);
  }
  EXPECT_EQ(memory->bytes(), 0);
}

TEST(ModelMemory, StopEndsEveryWait) {
  const auto memory = ModelMemory::Create(100);
  const auto first = memory->Reserve(100);
  auto second = std::async(std::launch::async, [&] { return memory->Reserve(1).has_value(); });
  memory->Stop();
  EXPECT_FALSE(second.get());
  EXPECT_FALSE(memory->Reserve(0).has_value());
}

}  // namespace
}  // namespace denoise
