#include "server/scheduling/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <set>

#include "core/base/mutex.h"
#include "core/base/retry.h"
#include "tests/server/scheduling/recording_work.h"
#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class SchedulerTest : public testing::Test {
 protected:
  WorkDemand Request(int items, int rows = 1) {
    return {.network = network_,
            .items = items,
            .evaluations = 10,
            .rows_first = rows,
            .rows_max = rows,
            .rows_full = rows};
  }

  uint64_t Submit(Scheduler& scheduler, WorkDemand demand) {
    works_.push_back(std::make_shared<RecordingWork>(std::move(demand)));
    const auto id = scheduler.Submit(works_.back());
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or(0);
  }

  static std::optional<Batch> NextBatch(Scheduler& scheduler, int worker) {
    std::optional<Turn> turn = scheduler.NextTurn(worker);
    if (!turn) return std::nullopt;
    return std::get<Batch>(*std::move(turn));
  }

  static std::vector<std::pair<uint64_t, int>> Items(const Batch& batch) {
    std::vector<std::pair<uint64_t, int>> items;
    for (const WorkItem* item : batch.items) items.emplace_back(item->work_id, item->index);
    return items;
  }

  static bool Contains(const Batch& batch, uint64_t id) {
    return std::any_of(batch.items.begin(), batch.items.end(),
                       [&](const WorkItem* item) { return item->work_id == id; });
  }

  FakeClock clock_;
  std::shared_ptr<const int> network_ = std::make_shared<int>();
  std::vector<std::shared_ptr<RecordingWork>> works_;
};

TEST_F(SchedulerTest, RotatesSoThatEveryItemRunsWithinOneRound) {
  Scheduler scheduler({.max_batch_rows = 4, .max_active_rows = 20}, clock_);
  Submit(scheduler, Request(10));
  std::map<int, int> last_run;
  for (int evaluation = 1; evaluation <= 30; ++evaluation) {
    const auto batch = NextBatch(scheduler, 0);
    EXPECT_EQ(batch->items.size(), 4u);
    for (const auto& [id, index] : Items(*batch)) last_run[index] = evaluation;
    if (evaluation < 3) continue;  // ceil(10 / 4)
    ASSERT_EQ(last_run.size(), 10u);
    for (const auto& [index, last] : last_run) EXPECT_GT(last, evaluation - 3) << "item " << index;
  }
}

// Images of a large request are in progress together, and the first of them end late.
TEST_F(SchedulerTest, ALargeRequestLeavesHalfOfTheRoomToOthers) {
  Scheduler scheduler({.max_batch_rows = 4, .max_active_rows = 16}, clock_);
  scheduler.AssumeEvaluation(network_, 0, 0, 1, absl::Milliseconds(1));
  Submit(scheduler, Request(32));
  EXPECT_EQ(scheduler.ActiveRows(0), 8);
  ASSERT_EQ(NextBatch(scheduler, 0)->items.size(), 4u);
  const uint64_t small = Submit(scheduler, Request(1));

  EXPECT_EQ(scheduler.QueueDepth(), 0);
  EXPECT_TRUE(Contains(*NextBatch(scheduler, 0), small));
  for (int i = 0; i < 7; ++i) Submit(scheduler, Request(1));
  EXPECT_EQ(scheduler.ActiveRows(0), 16);
  Submit(scheduler, Request(1));
  EXPECT_EQ(scheduler.QueueDepth(), 1) << "the loop is full";
}

TEST_F(SchedulerTest, ARequestMayTakeABatch) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  Submit(scheduler, Request(32));
  EXPECT_EQ(scheduler.ActiveRows(0), 8);
}

// What it waits for are its own images.
TEST_F(SchedulerTest, ARequestThatHasItsHalfIsNotOvertaken) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 4}, clock_);
  scheduler.AssumeEvaluation(network_, 0, 0, 1, absl::Milliseconds(1));
  Submit(scheduler, Request(32));
  for (int i = 0; i < 50; ++i) {
    const uint64_t small = Submit(scheduler, Request(1));
    EXPECT_EQ(scheduler.QueueDepth(), 0) << "request " << i;
    std::optional<Batch> batch = NextBatch(scheduler, 0);
    ASSERT_TRUE(Contains(*batch, small));
    for (WorkItem* item : batch->items) {
      if (item->work_id == small) scheduler.Remove(0, item, absl::OkStatus());
    }
  }
}

TEST_F(SchedulerTest, BatchesGrowAgainSomeTimeAfterMemoryRanOut) {
  Scheduler scheduler({.batch_efficiency = 1}, clock_);
  Submit(scheduler, Request(16));
  const auto rows = [&] { return NextBatch(scheduler, 0)->rows; };
  const auto evaluate = [&](int times) {
    for (int i = 0; i < times; ++i) {
      scheduler.RecordEvaluation(network_, 0, 0, 4, absl::Milliseconds(1));
    }
  };
  EXPECT_EQ(rows(), 16);
  evaluate(200);
  scheduler.LimitRows(network_, 0, 0, 16);
  scheduler.LimitRows(network_, 0, 0, 8);
  EXPECT_EQ(rows(), 4);
  evaluate(255);
  EXPECT_EQ(rows(), 4);
  evaluate(1);
  EXPECT_EQ(rows(), 8);
  evaluate(256);
  EXPECT_EQ(rows(), 16);
}

TEST_F(SchedulerTest, ARequestJoinsAtTheNextEvaluation) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  Submit(scheduler, Request(2));
  EXPECT_EQ(NextBatch(scheduler, 0)->items.size(), 2u);
  Submit(scheduler, Request(3));
  EXPECT_EQ(NextBatch(scheduler, 0)->items.size(), 5u);
}

TEST_F(SchedulerTest, ItemsOfTwoRowsTakeTwoRows) {
  Scheduler scheduler({.max_batch_rows = 5, .max_active_rows = 16}, clock_);
  Submit(scheduler, Request(3, 2));
  const auto batch = NextBatch(scheduler, 0);
  EXPECT_EQ(batch->items.size(), 2u);
  EXPECT_EQ(batch->rows, 4);
  EXPECT_EQ(scheduler.ActiveRows(0), 6);
}

TEST_F(SchedulerTest, ItemsOfFourRowsTakeFourRows) {
  Scheduler scheduler({.max_batch_rows = 9, .max_active_rows = 24}, clock_);
  Submit(scheduler, Request(3, 4));
  const auto batch = NextBatch(scheduler, 0);
  EXPECT_EQ(batch->items.size(), 2u);
  EXPECT_EQ(batch->rows, 8);
  EXPECT_EQ(scheduler.ActiveRows(0), 12);
}

TEST_F(SchedulerTest, CountsTheRowsThatIntervalsOfGuidanceSave) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  WorkDemand outside = Request(2);
  outside.rows_full = 2;
  Submit(scheduler, std::move(outside));
  Submit(scheduler, Request(1, 2));
  Submit(scheduler, Request(1));
  const auto batch = NextBatch(scheduler, 0);
  EXPECT_EQ(batch->items.size(), 4u);
  EXPECT_EQ(batch->rows, 5);
  EXPECT_EQ(batch->rows_saved, 2);
}

// Items of 1 and of 4 rows in one loop, due at the same time, by the bound that queue_policy.h
// states.
TEST_F(SchedulerTest, ItemsOfManyRowsWaitNoLongerThanStated) {
  constexpr int kCap = 5, kWide = 3, kNarrow = 6, kRows = 4 * kWide + kNarrow;
  Scheduler scheduler({.max_batch_rows = kCap, .max_active_rows = kRows}, clock_);
  for (int wide = 0; wide < kWide; ++wide) Submit(scheduler, Request(1, 4));
  Submit(scheduler, Request(kNarrow));
  std::map<const WorkItem*, int> last_run;
  for (int evaluation = 1; evaluation <= 100; ++evaluation) {
    const auto batch = NextBatch(scheduler, 0);
    ASSERT_LE(batch->rows, kCap);
    for (const WorkItem* item : batch->items) {
      const int waited = evaluation - last_run[item];
      EXPECT_LE(waited, 1 + (kRows - item->rows) / (kCap - item->rows + 1));
      last_run[item] = evaluation;
    }
  }
  EXPECT_EQ(last_run.size(), size_t{kWide + kNarrow});
}

TEST_F(SchedulerTest, OnlyItemsOfTheSameNetworkShareABatch) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  const uint64_t first = Submit(scheduler, Request(2));
  network_ = std::make_shared<int>();
  const uint64_t second = Submit(scheduler, Request(2));
  EXPECT_THAT(Items(*NextBatch(scheduler, 0)),
              ElementsAre(std::pair(first, 0), std::pair(first, 1)));
  EXPECT_THAT(Items(*NextBatch(scheduler, 0)),
              ElementsAre(std::pair(second, 0), std::pair(second, 1)));
  EXPECT_THAT(Items(*NextBatch(scheduler, 0)),
              ElementsAre(std::pair(first, 0), std::pair(first, 1)));
}

TEST_F(SchedulerTest, ALargeRequestDoesNotHoldUpASmallOne) {
  Scheduler scheduler({.max_batch_rows = 4, .max_active_rows = 4}, clock_);
  Submit(scheduler, Request(100));
  const uint64_t small = Submit(scheduler, Request(1));
  EXPECT_THAT(works_[1]->positions(), ElementsAre(0));
  auto batch = NextBatch(scheduler, 0);
  scheduler.Remove(0, batch->items[0], absl::OkStatus());
  scheduler.Remove(0, batch->items[1], absl::OkStatus());
  batch = NextBatch(scheduler, 0);
  std::set<uint64_t> running;
  for (const auto& [id, index] : Items(*batch)) running.insert(id);
  EXPECT_TRUE(running.contains(small));
}

TEST_F(SchedulerTest, AFullQueueIsUnavailableWithADelay) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2, .queue_size = 1}, clock_);
  Submit(scheduler, Request(2));
  Submit(scheduler, Request(1));
  EXPECT_EQ(scheduler.QueueDepth(), 1);
  const auto refused = scheduler.Submit(std::make_shared<RecordingWork>(Request(1)));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(GetRetryDelay(refused.status()).has_value());
  EXPECT_EQ(refused.status().message(),
            "the queue is full: 1 requests wait to start, and --queue-size is 1. Retry in 1s");
}

TEST_F(SchedulerTest, PositionsFallAsTheQueueMoves) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2}, clock_);
  Submit(scheduler, Request(2));
  Submit(scheduler, Request(1));
  Submit(scheduler, Request(1));
  EXPECT_THAT(works_[0]->positions(), IsEmpty());
  EXPECT_THAT(works_[2]->positions(), ElementsAre(1));
  const auto batch = NextBatch(scheduler, 0);
  scheduler.Remove(0, batch->items[0], absl::OkStatus());
  NextBatch(scheduler, 0);
  EXPECT_THAT(works_[2]->positions(), ElementsAre(1, 0));
}

TEST_F(SchedulerTest, AnEndedRequestIsGoneAtTheNextEvaluation) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  const uint64_t cancelled = Submit(scheduler, Request(3));
  const uint64_t other = Submit(scheduler, Request(1));
  NextBatch(scheduler, 0);
  scheduler.End(cancelled, absl::CancelledError(""));
  EXPECT_FALSE(works_[0]->finished());
  EXPECT_THAT(Items(*NextBatch(scheduler, 0)), ElementsAre(std::pair(other, 0)));
  EXPECT_EQ(works_[0]->status(), absl::CancelledError(""));
  EXPECT_EQ(works_[0]->finishes(), 1);
  EXPECT_EQ(scheduler.ActiveRows(0), 1);
}

// So that the worker reports an empty loop, although there is nothing to run.
TEST_F(SchedulerTest, TheNextBatchIsEmptyOnceTheLastRequestHasEnded) {
  Scheduler scheduler({}, clock_);
  const uint64_t last = Submit(scheduler, Request(2));
  NextBatch(scheduler, 0);
  scheduler.End(last, absl::CancelledError(""));
  const auto batch = NextBatch(scheduler, 0);
  ASSERT_TRUE(batch.has_value());
  EXPECT_THAT(batch->items, IsEmpty());
  EXPECT_EQ(scheduler.ActiveRows(0), 0);
  EXPECT_TRUE(works_[0]->finished());
}

TEST_F(SchedulerTest, AWaitingRequestCanBeEndedToo) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2}, clock_);
  Submit(scheduler, Request(2));
  const uint64_t waiting = Submit(scheduler, Request(5));
  scheduler.End(waiting, absl::CancelledError(""));
  NextBatch(scheduler, 0);
  EXPECT_EQ(works_[1]->status(), absl::CancelledError(""));
  EXPECT_EQ(scheduler.QueueDepth(), 0);
}

TEST_F(SchedulerTest, ADeadlineThatPassesEndsARequest) {
  Scheduler scheduler({.max_batch_rows = 4, .max_active_rows = 4}, clock_);
  WorkDemand hurried = Request(2);
  hurried.deadline = clock_.Now() + absl::Seconds(1);
  Submit(scheduler, std::move(hurried));
  Submit(scheduler, Request(1));
  EXPECT_EQ(NextBatch(scheduler, 0)->items.size(), 3u);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(NextBatch(scheduler, 0)->items.size(), 1u);
  EXPECT_EQ(works_[0]->status()->code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(SchedulerTest, AFailedItemEndsItsRequestAndNoOther) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  Submit(scheduler, Request(2));
  const uint64_t healthy = Submit(scheduler, Request(1));
  const auto batch = NextBatch(scheduler, 0);
  scheduler.Remove(0, batch->items[0], absl::InternalError("broken"));
  EXPECT_THAT(Items(*NextBatch(scheduler, 0)), ElementsAre(std::pair(healthy, 0)));
  EXPECT_EQ(works_[0]->status(), absl::InternalError("broken"));
  EXPECT_FALSE(works_[1]->finished());
}

TEST_F(SchedulerTest, ItemsSpreadOverTheWorkers) {
  Scheduler scheduler({.workers = 2, .max_batch_rows = 8, .max_active_rows = 8}, clock_);
  Submit(scheduler, Request(6));
  EXPECT_EQ(NextBatch(scheduler, 0)->items.size(), 3u);
  EXPECT_EQ(NextBatch(scheduler, 1)->items.size(), 3u);
}

TEST_F(SchedulerTest, ARequestOnTwoWorkersEndsOnceWhenBothHaveLetGo) {
  Scheduler scheduler({.workers = 2, .max_batch_rows = 8, .max_active_rows = 8}, clock_);
  const uint64_t id = Submit(scheduler, Request(2));
  Submit(scheduler, Request(2));
  scheduler.End(id, absl::CancelledError(""));
  NextBatch(scheduler, 0);
  EXPECT_FALSE(works_[0]->finished());
  NextBatch(scheduler, 1);
  EXPECT_EQ(works_[0]->finishes(), 1);
}

// The loop is full of the other's rows.
TEST_F(SchedulerTest, AnotherFlowBeginsAtOnceAndTakesItsShareOfEachBatch) {
  for (const Flow& flow : {Flow{"other"}, Flow{"", Priority::kInteractive}}) {
    Scheduler scheduler({.max_batch_rows = 4, .max_active_rows = 4}, clock_);
    for (int i = 0; i < 9; ++i) Submit(scheduler, Request(1));
    EXPECT_EQ(NextBatch(scheduler, 0)->items.size(), 4u);
    WorkDemand demand = Request(1);
    demand.flow = flow;
    const uint64_t id = Submit(scheduler, std::move(demand));
    EXPECT_THAT(works_.back()->positions(), IsEmpty());
    for (int evaluation = 0; evaluation < 10; ++evaluation) {
      clock_.Advance(absl::Seconds(1));
      EXPECT_TRUE(Contains(*NextBatch(scheduler, 0), id)) << "evaluation " << evaluation;
    }
  }
}

// Their turns take ten times as long, so they have one for ten of the other's.
TEST_F(SchedulerTest, TimeIsSharedNotTurns) {
  Scheduler scheduler({.max_batch_rows = 1, .max_active_rows = 8}, clock_);
  const std::shared_ptr<const int> slow_network = std::make_shared<int>();
  WorkDemand slow = Request(1);
  slow.network = slow_network;
  slow.flow.tenant = "slow";
  const uint64_t slow_id = Submit(scheduler, std::move(slow));
  Submit(scheduler, Request(1));
  int turns_of_slow = 0;
  for (int turn = 0; turn < 110; ++turn) {
    const bool is_slow = Contains(*NextBatch(scheduler, 0), slow_id);
    turns_of_slow += is_slow;
    clock_.Advance(absl::Milliseconds(is_slow ? 100 : 10));
  }
  EXPECT_NEAR(turns_of_slow, 10, 2);
}

TEST_F(SchedulerTest, WholeRequestsOfEqualSettingsRunTogetherFromStartToEnd) {
  Scheduler scheduler({.batching = Batching::kRequest, .max_batch_rows = 4, .max_active_rows = 16},
                      clock_);
  Submit(scheduler, Request(1));
  WorkDemand different = Request(1);
  different.settings = 7;
  const uint64_t other = Submit(scheduler, std::move(different));
  Submit(scheduler, Request(2));
  auto batch = NextBatch(scheduler, 0);
  EXPECT_EQ(batch->items.size(), 3u);
  EXPECT_FALSE(Contains(*batch, other));
  Submit(scheduler, Request(1));  // there is room, but they have begun
  batch = NextBatch(scheduler, 0);
  ASSERT_EQ(batch->items.size(), 3u);
  for (WorkItem* item : batch->items) scheduler.Remove(0, item, absl::OkStatus());
  EXPECT_THAT(Items(*NextBatch(scheduler, 0)), ElementsAre(std::pair(other, 0)));
}

TEST_F(SchedulerTest, WithoutBatchingRequestsRunOneByOne) {
  Scheduler scheduler({.batching = Batching::kNone, .max_batch_rows = 4, .max_active_rows = 16},
                      clock_);
  const uint64_t first = Submit(scheduler, Request(2));
  const uint64_t second = Submit(scheduler, Request(1));
  const auto batch = NextBatch(scheduler, 0);
  EXPECT_THAT(Items(*batch), ElementsAre(std::pair(first, 0), std::pair(first, 1)));
  for (WorkItem* item : batch->items) scheduler.Remove(0, item, absl::OkStatus());
  EXPECT_THAT(Items(*NextBatch(scheduler, 0)), ElementsAre(std::pair(second, 0)));
}

TEST_F(SchedulerTest, AnItemThatFitsNoLoopDoesNotBlockThoseBehindIt) {
  Scheduler scheduler({.max_batch_rows = 4, .max_active_rows = 4}, clock_);
  Submit(scheduler, Request(1));
  const uint64_t wide = Submit(scheduler, Request(1, 4));
  const uint64_t narrow = Submit(scheduler, Request(1));
  EXPECT_FALSE(Contains(*NextBatch(scheduler, 0), wide));
  EXPECT_TRUE(Contains(*NextBatch(scheduler, 0), narrow));
}

// Narrow requests keep coming, and each could run at once.
TEST_F(SchedulerTest, AnItemThatFitsNoLoopIsNotOvertakenForever) {
  Scheduler scheduler({.max_batch_rows = 4, .max_active_rows = 4}, clock_);
  Submit(scheduler, Request(3));
  const uint64_t wide = Submit(scheduler, Request(1, 4));
  int evaluations = 0;
  for (; evaluations < 20; ++evaluations) {
    Submit(scheduler, Request(1));
    const auto batch = NextBatch(scheduler, 0);
    if (Contains(*batch, wide)) break;
    scheduler.Remove(0, batch->items[0], absl::OkStatus());
  }
  EXPECT_EQ(evaluations, 4 + 3);  // overtaken by four, then the loop empties
}

// The queue holds only requests that no worker would sweep by itself.
TEST_F(SchedulerTest, ARequestThatEndsWhileItWaitsIsCollectedWithTheLastItem) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2}, clock_);
  Submit(scheduler, Request(1, 2));
  const uint64_t ended = Submit(scheduler, Request(1));
  WorkDemand hurried = Request(1);
  hurried.deadline = clock_.Now() + absl::Seconds(1);
  Submit(scheduler, std::move(hurried));
  const auto batch = NextBatch(scheduler, 0);
  scheduler.End(ended, absl::CancelledError(""));
  clock_.Advance(absl::Seconds(1));
  scheduler.Remove(0, batch->items[0], absl::OkStatus());
  EXPECT_EQ(works_[1]->status(), absl::CancelledError(""));
  EXPECT_EQ(works_[2]->status()->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(scheduler.Drain(absl::InfinitePast()));
}

TEST_F(SchedulerTest, DrainingRefusesNewRequestsAndWaitsForTheOthers) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2}, clock_);
  Submit(scheduler, Request(1));
  EXPECT_FALSE(scheduler.Drain(absl::UnixEpoch()));
  const auto refused = scheduler.Submit(std::make_shared<RecordingWork>(Request(1)));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  const auto batch = NextBatch(scheduler, 0);
  scheduler.Remove(0, batch->items[0], absl::OkStatus());
  EXPECT_TRUE(scheduler.Drain(absl::InfiniteFuture()));
  EXPECT_EQ(works_[0]->status(), absl::OkStatus());
}

TEST_F(SchedulerTest, DrainingGivesUpAtItsDeadline) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2}, clock_);
  Submit(scheduler, Request(1));
  auto drained = std::async(std::launch::async,
                            [&] { return scheduler.Drain(clock_.Now() + absl::Hours(1)); });
  clock_.AwaitDeadline();
  clock_.Advance(absl::Minutes(59));
  clock_.AwaitDeadline();  // it still waits
  clock_.Advance(absl::Minutes(1));
  EXPECT_FALSE(drained.get());
}

// Work that would continue elsewhere, and remembers which of its items it has heard of.
class MovingWork : public RecordingWork {
 public:
  using RecordingWork::RecordingWork;

  bool AcceptsHandover() override { return true; }
  void OnDropped(WorkItem& item) override {
    EXPECT_FALSE(finished()) << "it hears of an item after its end";
    if (on_dropped) on_dropped();
    const MutexLock lock(mutex_);
    dropped_.push_back(item.index);
  }
  std::vector<int> dropped() const {
    const MutexLock lock(mutex_);
    return dropped_;
  }

  std::function<void()> on_dropped;

 private:
  mutable Mutex mutex_;
  std::vector<int> dropped_;
};

TEST_F(SchedulerTest, DrainingEndsWhatAcceptsAHandoverAndKeepsTheRest) {
  Scheduler scheduler({.max_batch_rows = 4, .max_active_rows = 4}, clock_);
  const auto begun = std::make_shared<MovingWork>(Request(3));
  ASSERT_TRUE(scheduler.Submit(begun).ok());
  Submit(scheduler, Request(1));
  const auto waiting = std::make_shared<MovingWork>(Request(1));
  ASSERT_TRUE(scheduler.Submit(waiting).ok());
  EXPECT_EQ(NextBatch(scheduler, 0)->items.size(), 4u);
  scheduler.StartDraining();
  EXPECT_EQ(*waiting->status(), DrainingError()) << "at once: it has not begun";
  EXPECT_FALSE(begun->finished()) << "its evaluation runs";
  EXPECT_EQ(NextBatch(scheduler, 0)->items.size(), 1u);
  EXPECT_THAT(begun->dropped(), testing::UnorderedElementsAre(0, 1, 2));
  EXPECT_EQ(*begun->status(), DrainingError());
  scheduler.StartDraining();
  EXPECT_EQ(begun->finishes(), 1);
  EXPECT_FALSE(works_[0]->finished());
}

TEST_F(SchedulerTest, HandingOneOverLeavesTheOthersInTheBatch) {
  Scheduler scheduler({.max_batch_rows = 4, .max_active_rows = 4}, clock_);
  const auto moves = std::make_shared<MovingWork>(Request(3));
  const uint64_t id = *scheduler.Submit(moves);
  const auto stays = std::make_shared<MovingWork>(Request(1));
  ASSERT_TRUE(scheduler.Submit(stays).ok());
  const uint64_t unwilling = Submit(scheduler, Request(1));
  EXPECT_EQ(NextBatch(scheduler, 0)->items.size(), 4u);
  const absl::Status paused = absl::AbortedError("paused");
  scheduler.HandOver(id, paused);
  scheduler.HandOver(unwilling, paused);
  scheduler.HandOver(1000, paused);
  EXPECT_FALSE(moves->finished()) << "its evaluation runs";
  EXPECT_EQ(NextBatch(scheduler, 0)->items.size(), 2u);
  EXPECT_THAT(moves->dropped(), testing::UnorderedElementsAre(0, 1, 2));
  EXPECT_EQ(*moves->status(), paused);
  EXPECT_FALSE(stays->finished());
  EXPECT_FALSE(works_[0]->finished());
}

TEST_F(SchedulerTest, WhatWaitsIsHandedOverAtOnce) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2}, clock_);
  Submit(scheduler, Request(2));
  const auto waits = std::make_shared<MovingWork>(Request(1));
  const uint64_t id = *scheduler.Submit(waits);
  scheduler.HandOver(id, absl::AbortedError("paused"));
  EXPECT_EQ(waits->finishes(), 1);
  EXPECT_EQ(scheduler.QueueDepth(), 0);
}

// The first worker is still busy with its item when the second has dropped the other.
TEST_F(SchedulerTest, ARequestHearsOfItsItemsOnAllWorkersBeforeItsEnd) {
  Scheduler scheduler({.workers = 2, .max_batch_rows = 2, .max_active_rows = 2}, clock_);
  const auto work = std::make_shared<MovingWork>(Request(2));
  ASSERT_TRUE(scheduler.Submit(work).ok());
  Submit(scheduler, Request(2));
  EXPECT_EQ(NextBatch(scheduler, 0)->items.size(), 2u);
  EXPECT_EQ(NextBatch(scheduler, 1)->items.size(), 2u);
  scheduler.StartDraining();
  work->on_dropped = [&] {
    work->on_dropped = nullptr;
    NextBatch(scheduler, 1);
    EXPECT_FALSE(work->finished());
  };
  NextBatch(scheduler, 0);
  EXPECT_THAT(work->dropped(), testing::UnorderedElementsAre(0, 1));
  EXPECT_EQ(work->finishes(), 1);
}

TEST_F(SchedulerTest, StoppingEndsTheWorkersLoop) {
  Scheduler scheduler({}, clock_);
  scheduler.Stop();
  EXPECT_FALSE(NextBatch(scheduler, 0).has_value());
}

}  // namespace
}  // namespace denoise
