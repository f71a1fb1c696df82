// What becomes of the work of workers that fail for good, and of those that hang.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "server/scheduling/scheduler.h"
#include "tests/server/scheduling/recording_work.h"
#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

using Outcome = DeviceTask::Outcome;

constexpr int kEvaluations = 10;

class IdleTask : public DeviceTask {
 public:
  Outcome RunSlice() override { return Outcome::kIdle; }
  void OnFailed(const absl::Status&) override {}
};

class FailedWorkersTest : public testing::Test {
 protected:
  std::shared_ptr<RecordingWork> Submit(Scheduler& scheduler, int items,
                                        absl::Time deadline = absl::InfiniteFuture()) {
    auto work = std::make_shared<RecordingWork>(WorkDemand{
        .network = network_, .items = items, .evaluations = kEvaluations, .deadline = deadline});
    const auto id = scheduler.Submit(work);
    EXPECT_TRUE(id.ok()) << id.status();
    last_id_ = id.value_or(0);
    return work;
  }

  static Batch NextBatch(Scheduler& scheduler, int worker) {
    return std::get<Batch>(*scheduler.NextTurn(worker));
  }

  static std::vector<std::pair<uint64_t, int>> Items(const Batch& batch) {
    std::vector<std::pair<uint64_t, int>> items;
    for (const WorkItem* item : batch.items) items.emplace_back(item->work_id, item->index);
    return items;
  }

  // Every item of the batch has had this many evaluations.
  static void Advance(const Batch& batch, int evaluations) {
    for (WorkItem* item : batch.items) item->evaluations_left = kEvaluations - evaluations;
  }

  FakeClock clock_;
  std::shared_ptr<const int> network_ = std::make_shared<int>();
  uint64_t last_id_ = 0;
};

TEST_F(FailedWorkersTest, ItemsBeginAgainOnAnotherWorker) {
  Scheduler scheduler({.workers = 2}, clock_);
  const auto work = Submit(scheduler, 4);
  Advance(NextBatch(scheduler, 1), 3);
  const Batch lost = NextBatch(scheduler, 0);
  Advance(lost, 3);
  EXPECT_THAT(Items(lost), ElementsAre(std::pair(last_id_, 0), std::pair(last_id_, 2)));

  scheduler.FailWorker(0);

  EXPECT_THAT(work->displaced(), ElementsAre(0, 2));
  EXPECT_EQ(scheduler.ActiveRows(0), 0);
  EXPECT_FALSE(scheduler.HasTurn(0));
  EXPECT_EQ(scheduler.WorkingWorkers(), 1);
  const Batch all = NextBatch(scheduler, 1);
  ASSERT_EQ(all.items.size(), 4u);
  for (const WorkItem* item : all.items) {
    const bool was_lost = item->index % 2 == 0;
    EXPECT_EQ(item->evaluations_left, was_lost ? kEvaluations : kEvaluations - 3);
  }
  for (WorkItem* item : all.items) scheduler.Remove(1, item, absl::OkStatus());
  EXPECT_EQ(work->status(), absl::OkStatus());
  EXPECT_EQ(work->finishes(), 1);
}

// What waits has arrived before some of the displaced items were placed, but not before their
// request.
TEST_F(FailedWorkersTest, DisplacedItemsGoBeforeRequestsThatArrivedLater) {
  Scheduler scheduler({.workers = 2, .max_batch_rows = 2, .max_active_rows = 2}, clock_);
  const auto first = Submit(scheduler, 4);
  const uint64_t first_id = last_id_;
  clock_.Advance(absl::Seconds(1));
  const auto second = Submit(scheduler, 1);
  EXPECT_THAT(second->positions(), ElementsAre(0));
  NextBatch(scheduler, 0);
  clock_.Advance(absl::Seconds(1));

  scheduler.FailWorker(0);

  EXPECT_EQ(scheduler.QueueDepth(), 1) << "a request that has begun does not count";
  for (int displaced = 0; displaced < 2; ++displaced) {
    Batch batch = NextBatch(scheduler, 1);
    scheduler.Remove(1, batch.items.front(), absl::OkStatus());
    EXPECT_EQ(scheduler.QueueDepth(), 1) << "the other request has been placed first";
  }
  Batch batch = NextBatch(scheduler, 1);
  EXPECT_THAT(Items(batch), ElementsAre(std::pair(first_id, 0), std::pair(first_id, 2)));
  scheduler.Remove(1, batch.items.front(), absl::OkStatus());
  EXPECT_EQ(scheduler.QueueDepth(), 0);
}

TEST_F(FailedWorkersTest, AFailedWorkerGetsNothingMore) {
  Scheduler scheduler({.workers = 3}, clock_);
  Submit(scheduler, 6);
  NextBatch(scheduler, 0);
  scheduler.FailWorker(0);
  Submit(scheduler, 6);
  EXPECT_EQ(scheduler.ActiveRows(0), 0);
  EXPECT_EQ(scheduler.ActiveRows(1), 6);
  EXPECT_EQ(scheduler.ActiveRows(2), 6);
  for (const int worker : {1, 2}) scheduler.AddTask(std::make_shared<IdleTask>(), worker, 0);
  EXPECT_EQ(scheduler.LeastLoadedWorker(), 1);
}

TEST_F(FailedWorkersTest, AnItemTakesNoThirdWorkerWithIt) {
  Scheduler scheduler({.workers = 3}, clock_);
  const auto work = Submit(scheduler, 1);
  const auto bystander = Submit(scheduler, 2);  // on the other two workers
  NextBatch(scheduler, 0);
  scheduler.FailWorker(0);
  const int second = scheduler.ActiveRows(1) == 2 ? 1 : 2;
  EXPECT_EQ(NextBatch(scheduler, second).items.size(), 2u);

  scheduler.FailWorker(second);

  ASSERT_TRUE(work->finished());
  EXPECT_EQ(*work->status(), DeviceFailedError());
  EXPECT_EQ(work->finishes(), 1);
  EXPECT_FALSE(bystander->finished());
  EXPECT_EQ(NextBatch(scheduler, 3 - second).items.size(), 2u);
}

TEST_F(FailedWorkersTest, WithoutWorkersEveryRequestEndsAndIsToldWhenToRetry) {
  Scheduler scheduler({.workers = 2, .max_batch_rows = 2, .max_active_rows = 2}, clock_);
  const auto running = Submit(scheduler, 4);
  const auto waiting = Submit(scheduler, 1);
  for (const int worker : {0, 1}) {
    NextBatch(scheduler, worker);
    scheduler.FailWorker(worker);
  }
  for (const auto& work : {running, waiting}) {
    EXPECT_EQ(work->finishes(), 1);
    ASSERT_TRUE(work->finished());
    EXPECT_TRUE(absl::IsUnavailable(*work->status()));
    EXPECT_EQ(GetErrorReason(*work->status()), kDeviceFailedReason);
    EXPECT_TRUE(GetRetryDelay(*work->status()).has_value());
    EXPECT_EQ(work->handover_offers(), 1);
  }
  const auto refused = std::make_shared<RecordingWork>(WorkDemand{.network = network_});
  EXPECT_EQ(scheduler.Submit(refused).status(), DeviceFailedError());
  EXPECT_EQ(scheduler.FittingEvaluations({.network = network_, .evaluations = 5}), 5);
  EXPECT_TRUE(scheduler.Drain(absl::InfinitePast()));
}

TEST_F(FailedWorkersTest, WhatHasEndedIsDroppedAndDoesNotBeginAgain) {
  Scheduler scheduler({.workers = 2}, clock_);
  const auto cancelled = Submit(scheduler, 1);
  const uint64_t id = last_id_;
  NextBatch(scheduler, 0);
  scheduler.End(id, absl::CancelledError(""));
  scheduler.FailWorker(0);
  EXPECT_EQ(cancelled->status(), absl::CancelledError(""));
  EXPECT_THAT(cancelled->displaced(), IsEmpty());
  EXPECT_FALSE(scheduler.HasTurn(1));
}

TEST_F(FailedWorkersTest, DisplacedItemsKeepTheirDeadlines) {
  Scheduler scheduler({.workers = 2, .max_batch_rows = 2, .max_active_rows = 2}, clock_);
  const auto long_one = Submit(scheduler, 3);  // leaves room for one
  const auto short_one = Submit(scheduler, 1, clock_.Now() + absl::Seconds(5));
  const Batch batch = NextBatch(scheduler, 1);
  ASSERT_EQ(batch.items.size(), 2u);
  scheduler.FailWorker(1);
  EXPECT_FALSE(short_one->finished());
  clock_.Advance(absl::Seconds(6));
  NextBatch(scheduler, 0);
  ASSERT_TRUE(short_one->finished());
  EXPECT_TRUE(absl::IsDeadlineExceeded(*short_one->status()));
  EXPECT_FALSE(long_one->finished());
}

TEST_F(FailedWorkersTest, WhatBeginsAgainCostsItsWholeTimeAgain) {
  Scheduler scheduler({.workers = 2, .max_batch_rows = 2, .max_active_rows = 2}, clock_);
  scheduler.RecordEvaluation(network_, 0, 0, 2, absl::Seconds(2));
  Submit(scheduler, 4);
  for (const int worker : {0, 1}) Advance(NextBatch(scheduler, worker), 9);
  EXPECT_EQ(scheduler.OutstandingCost(), absl::Seconds(4));
  scheduler.FailWorker(0);
  EXPECT_EQ(scheduler.OutstandingCost(), absl::Seconds(2 + 2 * kEvaluations));
}

TEST_F(FailedWorkersTest, TasksGetSlicesToEndIn) {
  Scheduler scheduler({.workers = 2}, clock_);
  Submit(scheduler, 2);
  const auto task = std::make_shared<IdleTask>();
  scheduler.AddTask(task, 0, 0);
  ASSERT_TRUE(std::holds_alternative<Slice>(*scheduler.NextTurn(0)));
  scheduler.EndSlice(0, Outcome::kIdle);
  NextBatch(scheduler, 0);

  scheduler.FailWorker(0);

  EXPECT_EQ(std::get<Slice>(*scheduler.NextTurn(0)).task, task.get()) << "even though it was idle";
  scheduler.EndSlice(0, Outcome::kDone);
  EXPECT_FALSE(scheduler.HasTurn(0));
  const auto late = std::make_shared<IdleTask>();
  scheduler.AddTask(late, 0, 0);
  EXPECT_EQ(std::get<Slice>(*scheduler.NextTurn(0)).task, late.get());
  scheduler.EndSlice(0, Outcome::kDone);
  scheduler.Stop();
  EXPECT_FALSE(scheduler.NextTurn(0).has_value());
}

TEST_F(FailedWorkersTest, ACheckIsTheNextTurnOfEveryWorkerThatHasNotFailed) {
  Scheduler scheduler({.workers = 2}, clock_);
  Submit(scheduler, 2);
  scheduler.CheckWorkers();
  ASSERT_TRUE(std::holds_alternative<Check>(*scheduler.NextTurn(0)));
  EXPECT_TRUE(std::holds_alternative<Batch>(*scheduler.NextTurn(0)));
  ASSERT_TRUE(std::holds_alternative<Check>(*scheduler.NextTurn(1)));
  scheduler.FailWorker(1);
  EXPECT_EQ(NextBatch(scheduler, 0).items.size(), 2u);
  scheduler.CheckWorkers();
  EXPECT_FALSE(scheduler.HasTurn(1));
}

constexpr absl::Duration kTurnTimeMax = absl::Seconds(60);
// The first look at a turn does not know since when it runs.
const absl::Duration kTooLong = kTurnTimeMax + absl::Seconds(1);

class HangingWorkersTest : public FailedWorkersTest {
 protected:
  // Empty while the work runs.
  static std::string ReasonOf(const RecordingWork& work) {
    return GetErrorReason(work.status().value_or(absl::OkStatus())).value_or("");
  }

  using Changes = std::vector<std::pair<int, bool>>;

  // What changes within `time`, with a look every second.
  Changes ChangesWithin(Scheduler& scheduler, absl::Duration time) {
    Changes changes;
    for (absl::Duration passed; passed < time; passed += absl::Seconds(1)) {
      clock_.Advance(absl::Seconds(1));
      for (const auto& [worker, hangs] : scheduler.FindHangs()) changes.emplace_back(worker, hangs);
    }
    return changes;
  }
  Changes ChangesNow(Scheduler& scheduler) {
    Changes changes;
    for (const auto& [worker, hangs] : scheduler.FindHangs()) changes.emplace_back(worker, hangs);
    return changes;
  }
};

TEST_F(HangingWorkersTest, RequestsOfAWorkerThatHangsEndBeforeItLetsGoOfTheirItems) {
  Scheduler scheduler({.workers = 2, .turn_time_max = kTurnTimeMax}, clock_);
  const auto held = Submit(scheduler, 1);
  const auto other = Submit(scheduler, 1);
  const Batch hangs = NextBatch(scheduler, 0);
  EXPECT_THAT(ChangesWithin(scheduler, kTurnTimeMax), IsEmpty()) << "it may still be slow";
  const Batch runs = NextBatch(scheduler, 1);

  EXPECT_THAT(ChangesWithin(scheduler, absl::Seconds(1)), ElementsAre(std::pair(0, true)));

  EXPECT_EQ(ReasonOf(*held), kDeviceFailedReason);
  EXPECT_EQ(held->finishes(), 1);
  EXPECT_THAT(held->displaced(), IsEmpty()) << "nobody may touch what the worker still uses";
  EXPECT_EQ(other->finishes(), 0);
  EXPECT_EQ(scheduler.WorkingWorkers(), 1);
  EXPECT_THAT(ChangesNow(scheduler), IsEmpty());
  const auto later = Submit(scheduler, 4);
  EXPECT_EQ(scheduler.ActiveRows(1), 1 + 4) << "it gets nothing more";

  scheduler.Remove(0, hangs.items.front(), absl::OkStatus());
  EXPECT_EQ(held->finishes(), 1) << "it was told already";
  scheduler.Remove(1, runs.items.front(), absl::OkStatus());
  EXPECT_EQ(other->status(), absl::OkStatus());
}

TEST_F(HangingWorkersTest, AWorkerThatAnswersAfterAllWorksAgain) {
  Scheduler scheduler({.workers = 1, .turn_time_max = kTurnTimeMax}, clock_);
  const auto held = Submit(scheduler, 2);
  NextBatch(scheduler, 0);
  EXPECT_THAT(ChangesWithin(scheduler, kTooLong), ElementsAre(std::pair(0, true)));
  EXPECT_EQ(held->finishes(), 1);
  const auto refused = scheduler.Submit(std::make_shared<RecordingWork>(
      WorkDemand{.network = network_, .evaluations = kEvaluations}));
  EXPECT_EQ(GetErrorReason(refused.status()), kDeviceFailedReason);

  EXPECT_TRUE(NextBatch(scheduler, 0).items.empty()) << "it drops what has ended";
  EXPECT_THAT(held->dropped(), ElementsAre(0, 1));
  EXPECT_EQ(held->finishes(), 1);
  EXPECT_THAT(ChangesNow(scheduler), ElementsAre(std::pair(0, false)));
  const auto next = Submit(scheduler, 1);
  const Batch batch = NextBatch(scheduler, 0);
  ASSERT_EQ(batch.items.size(), 1u);
  scheduler.Remove(0, batch.items.front(), absl::OkStatus());
  EXPECT_EQ(next->status(), absl::OkStatus());
}

TEST_F(HangingWorkersTest, RequestsThatWaitEndWhenTheLastWorkerHangs) {
  Scheduler scheduler(
      {.workers = 1, .max_batch_rows = 2, .max_active_rows = 2, .turn_time_max = kTurnTimeMax},
      clock_);
  Submit(scheduler, 2);
  const auto waits = Submit(scheduler, 1);
  NextBatch(scheduler, 0);
  ChangesWithin(scheduler, kTooLong);
  EXPECT_EQ(ReasonOf(*waits), kDeviceFailedReason);
  EXPECT_TRUE(scheduler.Drain(clock_.Now())) << "nobody waits to hear anything";
}

TEST_F(HangingWorkersTest, ARequestThatWasCancelledMeanwhileHearsThat) {
  Scheduler scheduler({.workers = 1, .turn_time_max = kTurnTimeMax}, clock_);
  const auto work = Submit(scheduler, 1);
  NextBatch(scheduler, 0);
  scheduler.End(last_id_, absl::CancelledError("cancelled"));
  EXPECT_EQ(work->finishes(), 0);
  ChangesWithin(scheduler, kTooLong);
  EXPECT_TRUE(absl::IsCancelled(work->status().value_or(absl::OkStatus())));
}

TEST_F(HangingWorkersTest, AnEvaluationThatIsKnownToBeLongMayTakeLonger) {
  Scheduler scheduler({.workers = 1, .turn_time_max = kTurnTimeMax}, clock_);
  scheduler.AssumeEvaluation(network_, 0, 0, 1, kTurnTimeMax / 2);
  const auto work = Submit(scheduler, 1);
  NextBatch(scheduler, 0);
  EXPECT_THAT(ChangesWithin(scheduler, 9 * kTurnTimeMax), IsEmpty());
  EXPECT_THAT(ChangesWithin(scheduler, kTooLong), ElementsAre(std::pair(0, true)));
}

TEST_F(HangingWorkersTest, SlicesCount) {
  Scheduler scheduler({.workers = 2, .turn_time_max = kTurnTimeMax}, clock_);
  scheduler.AddTask(std::make_shared<IdleTask>(), 1, 0);
  ASSERT_TRUE(std::holds_alternative<Slice>(*scheduler.NextTurn(1)));
  ChangesWithin(scheduler, kTurnTimeMax);
  Submit(scheduler, 1);
  NextBatch(scheduler, 0);
  EXPECT_THAT(ChangesWithin(scheduler, absl::Seconds(1)), ElementsAre(std::pair(1, true)));
  EXPECT_EQ(scheduler.LeastLoadedWorker(), 0);
  scheduler.EndSlice(1, Outcome::kIdle);
}

TEST_F(HangingWorkersTest, AWorkerThatHangsAndThenFailsHasFailed) {
  Scheduler scheduler({.workers = 1, .turn_time_max = kTurnTimeMax}, clock_);
  const auto held = Submit(scheduler, 1);
  NextBatch(scheduler, 0);
  ChangesWithin(scheduler, kTooLong);
  scheduler.FailWorker(0);
  EXPECT_THAT(ChangesNow(scheduler), ElementsAre(std::pair(0, false)));
  EXPECT_EQ(scheduler.WorkingWorkers(), 0);
  EXPECT_EQ(held->finishes(), 1);
}

TEST_F(HangingWorkersTest, AWorkerThatNeverAsksForATurnHangs) {
  Scheduler scheduler({.workers = 1, .turn_time_max = kTurnTimeMax}, clock_);
  EXPECT_THAT(ChangesWithin(scheduler, kTooLong), ElementsAre(std::pair(0, true)));
}

TEST_F(HangingWorkersTest, ItemsThatHaveHadNoTurnMoveToAnotherWorker) {
  Scheduler scheduler({.workers = 2, .turn_time_max = kTurnTimeMax}, clock_);
  const auto first = Submit(scheduler, 2);  // one item on each worker
  NextBatch(scheduler, 0);
  const auto later = Submit(scheduler, 2);
  ChangesWithin(scheduler, kTurnTimeMax);
  NextBatch(scheduler, 1);
  EXPECT_THAT(ChangesWithin(scheduler, absl::Seconds(1)), ElementsAre(std::pair(0, true)));
  EXPECT_EQ(first->finishes(), 1);
  EXPECT_EQ(later->finishes(), 0);
  const Batch batch = NextBatch(scheduler, 1);
  EXPECT_THAT(Items(batch), UnorderedElementsAre(std::pair(last_id_, 0), std::pair(last_id_, 1)));
}

TEST_F(HangingWorkersTest, AClockThatIsSetAndASuspendedProcessMakeNobodyHang) {
  Scheduler scheduler({.workers = 1, .turn_time_max = kTurnTimeMax}, clock_);
  Submit(scheduler, 1);
  NextBatch(scheduler, 0);
  clock_.Advance(absl::Hours(1));
  EXPECT_THAT(ChangesNow(scheduler), IsEmpty());
}

// As where what is on the device is brought to the host, to be handed over.
TEST_F(HangingWorkersTest, ARequestWhoseItemIsBeingDroppedHearsOfItsEnd) {
  Scheduler scheduler({.workers = 1, .turn_time_max = kTurnTimeMax}, clock_);
  class SlowToDrop : public RecordingWork {
   public:
    using RecordingWork::RecordingWork;
    void OnDropped(WorkItem& item) override {
      on_dropped();
      RecordingWork::OnDropped(item);
    }
    std::function<void()> on_dropped;
  };
  const auto work =
      std::make_shared<SlowToDrop>(WorkDemand{.network = network_, .evaluations = kEvaluations});
  int finishes_meanwhile = 0;
  work->on_dropped = [&] {
    ChangesWithin(scheduler, kTooLong);
    finishes_meanwhile = work->finishes();
  };
  const uint64_t id = *scheduler.Submit(work);
  NextBatch(scheduler, 0);
  scheduler.End(id, absl::CancelledError("cancelled"));
  EXPECT_TRUE(NextBatch(scheduler, 0).items.empty());
  EXPECT_EQ(finishes_meanwhile, 1);
  EXPECT_EQ(work->finishes(), 1);
}

}  // namespace
}  // namespace denoise
