// How slices and evaluations alternate: without threads, by a clock that the test moves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <random>

#include "server/scheduling/scheduler.h"
#include "tests/server/scheduling/recording_work.h"
#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

using Outcome = DeviceTask::Outcome;

constexpr absl::Duration kSlice = absl::Milliseconds(10);

// The scheduler only hands it out; its name tells whose slice it is.
class NamedTask : public DeviceTask {
 public:
  explicit NamedTask(char name) : name_(name) {}
  Outcome RunSlice() override { return Outcome::kMore; }
  void OnFailed(const absl::Status&) override {}
  std::string name() const override { return std::string(1, name_); }

 private:
  const char name_;
};

class SchedulerTasksTest : public testing::Test {
 protected:
  uint64_t Submit(Scheduler& scheduler, int count = 1) {
    return *scheduler.Submit(std::make_shared<RecordingWork>(
        WorkDemand{.network = network_, .items = count, .evaluations = 10}));
  }

  static uint64_t Add(Scheduler& scheduler, char name, int priority = 0, int worker = 0) {
    return scheduler.AddTask(std::make_shared<NamedTask>(name), worker, priority);
  }

  // One turn of worker 0, which takes its time: a task's name, or '-' for an evaluation.
  char RunTurn(Scheduler& scheduler, Outcome outcome = Outcome::kMore) {
    const auto turn = scheduler.NextTurn(0);
    const auto* slice = std::get_if<Slice>(&turn.value());
    clock_.Advance(slice != nullptr ? slice_time_ : evaluation_time_);
    if (slice == nullptr) return '-';
    const char name = slice->task->name().front();
    scheduler.EndSlice(0, outcome);
    return name;
  }

  std::string Turns(Scheduler& scheduler, int count) {
    std::string turns;
    for (int i = 0; i < count; ++i) turns += RunTurn(scheduler);
    return turns;
  }

  FakeClock clock_;
  absl::Duration slice_time_ = kSlice;
  absl::Duration evaluation_time_ = kSlice;
  std::shared_ptr<const int> network_ = std::make_shared<int>();
};

TEST_F(SchedulerTasksTest, SlicesRunBackToBackWhileThereIsNothingToEvaluate) {
  Scheduler scheduler({}, clock_);
  Add(scheduler, 'a');
  EXPECT_EQ(Turns(scheduler, 4), "aaaa");
}

TEST_F(SchedulerTasksTest, SlicesTakeTheirShareWhileRequestsWait) {
  Scheduler quarter({.training_share = 0.25}, clock_);
  Add(quarter, 'a');
  Submit(quarter);
  EXPECT_EQ(Turns(quarter, 9), "a---a---a");

  Scheduler half({.training_share = 0.5}, clock_);
  Add(half, 'a');
  Submit(half);
  EXPECT_EQ(Turns(half, 5), "a-a-a");
  evaluation_time_ = 0.4 * kSlice;
  EXPECT_EQ(Turns(half, 8), "---a---a");
}

TEST_F(SchedulerTasksTest, AShareOfZeroRunsSlicesOnlyWhileNoRequestIsThere) {
  Scheduler scheduler({.training_share = 0}, clock_);
  Add(scheduler, 'a');
  const uint64_t id = Submit(scheduler);
  EXPECT_EQ(Turns(scheduler, 6), "------");
  scheduler.End(id, absl::CancelledError(""));
  EXPECT_EQ(Turns(scheduler, 4), "-aaa");  // an empty batch, then slices
  Submit(scheduler);
  EXPECT_EQ(Turns(scheduler, 4), "----");
}

// Of any lengths: after each slice of s, evaluations get s * (1 - share) / share, and in all the
// share is reached up to the evaluation that ends the wait.
TEST_F(SchedulerTasksTest, TheShareHoldsAfterEverySliceWhateverTurnsTake) {
  constexpr double kShare = 0.2;
  Scheduler scheduler({.training_share = kShare}, clock_);
  Add(scheduler, 'a');
  Submit(scheduler);
  std::mt19937 random(1);
  std::uniform_int_distribution<int> milliseconds(1, 40);
  absl::Duration slices, evaluations, since_slice, owed;
  for (int turn = 0; turn < 2000; ++turn) {
    slice_time_ = absl::Milliseconds(milliseconds(random));
    evaluation_time_ = absl::Milliseconds(milliseconds(random)) / 10;
    if (RunTurn(scheduler) == 'a') {
      ASSERT_GE(since_slice, owed);
      slices += slice_time_;
      owed = slice_time_ * (1 - kShare) / kShare;
      since_slice = absl::ZeroDuration();
    } else {
      evaluations += evaluation_time_;
      since_slice += evaluation_time_;
    }
  }
  EXPECT_NEAR(absl::FDivDuration(slices, slices + evaluations), kShare, 0.01);
}

TEST_F(SchedulerTasksTest, ARequestThatArrivesDuringASliceWaitsForThatOneOnly) {
  Scheduler scheduler({.training_share = 0.9}, clock_);
  Add(scheduler, 'a');
  EXPECT_EQ(Turns(scheduler, 100), std::string(100, 'a'));
  ASSERT_TRUE(std::holds_alternative<Slice>(*scheduler.NextTurn(0)));
  Submit(scheduler);
  clock_.Advance(kSlice);
  scheduler.EndSlice(0, Outcome::kMore);
  EXPECT_EQ(RunTurn(scheduler), '-');
}

// Such as the other ranks of a training step. What all of its slices took is owed to evaluations.
TEST_F(SchedulerTasksTest, ASliceThatOthersWaitForComesBeforeEverything) {
  evaluation_time_ = slice_time_;
  Scheduler scheduler({.training_share = 0.5}, clock_);
  Add(scheduler, 'a');
  Submit(scheduler);
  std::string turns;
  for (int slice = 0; slice < 3; ++slice) turns += RunTurn(scheduler, Outcome::kMoreNow);
  Add(scheduler, 'b', /*priority=*/1);
  turns += RunTurn(scheduler, Outcome::kMore);
  EXPECT_EQ(turns, "aaaa");
  EXPECT_EQ(Turns(scheduler, 6), "----b-");
}

TEST_F(SchedulerTasksTest, BothAlternateWhileTheClockStandsStill) {
  slice_time_ = evaluation_time_ = absl::ZeroDuration();
  Scheduler scheduler({.training_share = 0.9}, clock_);
  Add(scheduler, 'a');
  Submit(scheduler);
  EXPECT_EQ(Turns(scheduler, 4), "a-a-");
}

TEST_F(SchedulerTasksTest, WhatASliceTookWithoutRequestsIsNotHeldAgainstLaterOnes) {
  Scheduler scheduler({.training_share = 0.5}, clock_);
  Add(scheduler, 'a');
  EXPECT_EQ(Turns(scheduler, 50), std::string(50, 'a'));
  Submit(scheduler);
  EXPECT_EQ(Turns(scheduler, 4), "-a-a");
}

TEST_F(SchedulerTasksTest, TasksOfOnePriorityRotate) {
  Scheduler scheduler({}, clock_);
  for (char name : {'a', 'b', 'c'}) Add(scheduler, name);
  EXPECT_EQ(Turns(scheduler, 7), "abcabca");
}

TEST_F(SchedulerTasksTest, TasksShareWhatTrainingGets) {
  Scheduler scheduler({.training_share = 0.5}, clock_);
  for (char name : {'a', 'b'}) Add(scheduler, name);
  Submit(scheduler);
  EXPECT_EQ(Turns(scheduler, 6), "a-b-a-");
}

TEST_F(SchedulerTasksTest, AHigherPriorityGoesFirstUntilItHasNothingToDo) {
  Scheduler scheduler({}, clock_);
  Add(scheduler, 'a');
  const uint64_t urgent = Add(scheduler, 'u', 1);
  EXPECT_EQ(Turns(scheduler, 3), "uuu");
  EXPECT_EQ(RunTurn(scheduler, Outcome::kIdle), 'u');
  EXPECT_EQ(Turns(scheduler, 2), "aa");
  scheduler.Wake(urgent);
  EXPECT_EQ(Turns(scheduler, 2), "uu");
}

TEST_F(SchedulerTasksTest, AWakeDuringASliceIsNotLost) {
  Scheduler scheduler({}, clock_);
  const uint64_t id = Add(scheduler, 'a');
  ASSERT_TRUE(std::holds_alternative<Slice>(*scheduler.NextTurn(0)));
  scheduler.Wake(id);
  scheduler.EndSlice(0, Outcome::kIdle);
  EXPECT_EQ(RunTurn(scheduler), 'a');
}

TEST_F(SchedulerTasksTest, ATaskThatIsDoneIsReleased) {
  Scheduler scheduler({}, clock_);
  auto task = std::make_shared<NamedTask>('a');
  const std::weak_ptr<NamedTask> alive = task;
  const uint64_t id = scheduler.AddTask(std::move(task), 0, 0);
  Add(scheduler, 'b');
  EXPECT_EQ(RunTurn(scheduler, Outcome::kDone), 'a');
  EXPECT_TRUE(alive.expired());
  EXPECT_EQ(Turns(scheduler, 2), "bb");
  scheduler.Wake(id);  // ignored
  scheduler.RemoveTask(id);
  EXPECT_EQ(Turns(scheduler, 2), "bb");
}

TEST_F(SchedulerTasksTest, ARemovedTaskIsReleasedAndRunsNoMore) {
  Scheduler scheduler({}, clock_);
  auto task = std::make_shared<NamedTask>('a');
  const std::weak_ptr<NamedTask> alive = task;
  const uint64_t id = scheduler.AddTask(std::move(task), 0, 0);
  Add(scheduler, 'b');
  EXPECT_EQ(Turns(scheduler, 2), "ab");
  scheduler.RemoveTask(id);
  EXPECT_TRUE(alive.expired());
  EXPECT_EQ(Turns(scheduler, 2), "bb");
}

TEST_F(SchedulerTasksTest, RemovingWaitsForTheSliceThatRuns) {
  for (const Outcome outcome : {Outcome::kMore, Outcome::kIdle, Outcome::kDone}) {
    Scheduler scheduler({}, clock_);
    auto task = std::make_shared<NamedTask>('a');
    const std::weak_ptr<NamedTask> alive = task;
    const uint64_t id = scheduler.AddTask(std::move(task), 0, 0);
    Add(scheduler, 'b');
    ASSERT_TRUE(std::holds_alternative<Slice>(*scheduler.NextTurn(0)));
    auto removal = std::async(std::launch::async, [&] {
      scheduler.RemoveTask(id);
      return alive.expired();
    });
    EXPECT_EQ(removal.wait_for(std::chrono::milliseconds(10)), std::future_status::timeout);
    scheduler.EndSlice(0, outcome);
    EXPECT_TRUE(removal.get());
    EXPECT_EQ(Turns(scheduler, 2), "bb");
  }
}

// So that nothing of it is left once the removal has returned.
TEST(TaskRotation, ARetiredTaskIsLeftToWhoeverRemovesIt) {
  TaskRotation tasks;
  tasks.Add(1, std::make_shared<NamedTask>('a'), 0);
  tasks.Begin();
  tasks.Retire(1);
  EXPECT_EQ(tasks.End(Outcome::kDone), nullptr);
  EXPECT_FALSE(tasks.HasRunnable());
  EXPECT_NE(tasks.Remove(1), nullptr);
  EXPECT_EQ(tasks.size(), 0u);
}

TEST_F(SchedulerTasksTest, StoppingRunsNoFurtherSliceButFinishesItems) {
  Scheduler scheduler({.training_share = 0.5}, clock_);
  Add(scheduler, 'a');
  Submit(scheduler);
  scheduler.Stop();
  EXPECT_EQ(RunTurn(scheduler), '-');
  const auto turn = scheduler.NextTurn(0);
  scheduler.Remove(0, std::get<Batch>(*turn).items[0], absl::OkStatus());
  EXPECT_FALSE(scheduler.NextTurn(0).has_value());
}

TEST_F(SchedulerTasksTest, DrainingLeavesTasksAlone) {
  Scheduler scheduler({}, clock_);
  Add(scheduler, 'a');
  EXPECT_TRUE(scheduler.Drain(absl::InfiniteFuture()));
  EXPECT_EQ(Turns(scheduler, 2), "aa");
}

TEST_F(SchedulerTasksTest, ATaskKeepsToItsWorkerAndNewItemsPreferAnother) {
  Scheduler scheduler({.workers = 2}, clock_);
  EXPECT_EQ(scheduler.LeastLoadedWorker(), 0);
  Add(scheduler, 'a', 0, 0);
  EXPECT_EQ(scheduler.LeastLoadedWorker(), 1);
  Submit(scheduler);
  EXPECT_EQ(scheduler.ActiveRows(0), 0);
  EXPECT_EQ(scheduler.ActiveRows(1), 1);
  EXPECT_TRUE(std::holds_alternative<Batch>(*scheduler.NextTurn(1)));
  EXPECT_EQ(Turns(scheduler, 3), "aaa");
}

}  // namespace
}  // namespace denoise
