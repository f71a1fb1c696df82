#include "server/engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/base/retry.h"
#include "tests/server/engine/recording_sink.h"
#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::shared_ptr<const SamplerPlan> PlanOf(int evaluations) {
  SamplerPlan plan;
  plan.evaluations.resize(evaluations);
  return std::make_shared<const SamplerPlan>(plan);
}

class SchedulerTest : public testing::Test {
 protected:
  GenerationRequest Request(int count, double guidance_scale = 1) {
    GenerationRequest request;
    request.networks = networks_;
    request.plan = PlanOf(10);
    request.count = count;
    request.conditioning.guidance.scale = guidance_scale;
    return request;
  }

  uint64_t Submit(Scheduler& scheduler, GenerationRequest request) {
    sinks_.push_back(std::make_shared<RecordingSink>());
    const auto id = scheduler.Submit(std::move(request), sinks_.back());
    EXPECT_TRUE(id.ok()) << id.status();
    ids_.push_back(id.value_or(0));
    return ids_.back();
  }

  static std::optional<Batch> NextBatch(Scheduler& scheduler, int worker) {
    std::optional<Turn> turn = scheduler.NextTurn(worker);
    if (!turn) return std::nullopt;
    return std::get<Batch>(*std::move(turn));
  }

  static std::vector<std::pair<uint64_t, int>> Images(const Batch& batch) {
    std::vector<std::pair<uint64_t, int>> images;
    for (const ActiveImage* image : batch.images)
      images.emplace_back(image->generation->id(), image->index);
    return images;
  }

  FakeClock clock_;
  std::shared_ptr<const NetworkReplicas> networks_ = std::make_shared<NetworkReplicas>();
  std::vector<std::shared_ptr<RecordingSink>> sinks_;
  std::vector<uint64_t> ids_;
};

TEST_F(SchedulerTest, RotatesSoThatNoImageWaitsLongerThanItsTurn) {
  Scheduler scheduler({.max_batch_rows = 4, .max_active_rows = 16}, clock_);
  Submit(scheduler, Request(10));
  std::map<int, int> last_run;
  for (int evaluation = 1; evaluation <= 30; ++evaluation) {
    const auto batch = NextBatch(scheduler, 0);
    EXPECT_EQ(batch->images.size(), 4u);
    for (const auto& [id, index] : Images(*batch)) last_run[index] = evaluation;
    if (evaluation < 3) continue;  // ceil(10 / 4)
    ASSERT_EQ(last_run.size(), 10u);
    for (const auto& [index, last] : last_run) EXPECT_GT(last, evaluation - 3) << "image " << index;
  }
}

TEST_F(SchedulerTest, ARequestJoinsAtTheNextEvaluation) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  Submit(scheduler, Request(2));
  EXPECT_EQ(NextBatch(scheduler, 0)->images.size(), 2u);
  Submit(scheduler, Request(3));
  EXPECT_EQ(NextBatch(scheduler, 0)->images.size(), 5u);
}

TEST_F(SchedulerTest, GuidedImagesTakeTwoRows) {
  Scheduler scheduler({.max_batch_rows = 5, .max_active_rows = 16}, clock_);
  Submit(scheduler, Request(3, 2.0));
  const auto batch = NextBatch(scheduler, 0);
  EXPECT_EQ(batch->images.size(), 2u);
  EXPECT_EQ(batch->rows, 4);
  EXPECT_EQ(scheduler.ActiveRows(0), 6);
}

TEST_F(SchedulerTest, BlendedImagesTakeARowForEachClass) {
  Scheduler scheduler({.max_batch_rows = 9, .max_active_rows = 16}, clock_);
  GenerationRequest blended = Request(3, 2.0);
  blended.conditioning.class_weights = {{0, 0.5}, {1, 0.25}, {2, 0.25}};
  Submit(scheduler, std::move(blended));
  const auto batch = NextBatch(scheduler, 0);
  EXPECT_EQ(batch->images.size(), 2u);
  EXPECT_EQ(batch->rows, 8);
  EXPECT_EQ(scheduler.ActiveRows(0), 12);
}

TEST_F(SchedulerTest, CountsTheRowsThatIntervalsOfGuidanceSave) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  GenerationRequest outside = Request(2, 2.0);  // its evaluations are at timestep 0
  outside.conditioning.guidance.timesteps.min = 1;
  Submit(scheduler, std::move(outside));
  Submit(scheduler, Request(1, 2.0));
  Submit(scheduler, Request(1));
  const auto batch = NextBatch(scheduler, 0);
  EXPECT_EQ(batch->images.size(), 4u);
  EXPECT_EQ(batch->rows, 5);
  EXPECT_EQ(batch->rows_saved, 2);
}

// Images of 1 and of 4 rows in one loop, by the bound that scheduler.h states.
TEST_F(SchedulerTest, ImagesOfManyRowsWaitNoLongerThanStated) {
  constexpr int kCap = 5, kBlended = 3, kPlain = 6, kRows = 4 * kBlended + kPlain;
  Scheduler scheduler({.max_batch_rows = kCap, .max_active_rows = kRows}, clock_);
  GenerationRequest blended = Request(kBlended);
  blended.conditioning.class_weights = {{0, 0.25}, {1, 0.25}, {2, 0.25}, {3, 0.25}};
  Submit(scheduler, std::move(blended));
  Submit(scheduler, Request(kPlain));
  std::map<const ActiveImage*, int> last_run;
  for (int evaluation = 1; evaluation <= 100; ++evaluation) {
    const auto batch = NextBatch(scheduler, 0);
    ASSERT_LE(batch->rows, kCap);
    for (const ActiveImage* image : batch->images) {
      const int waited = evaluation - last_run[image];
      EXPECT_LE(waited, 1 + (kRows - image->rows) / (kCap - image->rows + 1));
      last_run[image] = evaluation;
    }
  }
  EXPECT_EQ(last_run.size(), size_t{kBlended + kPlain});
}

TEST_F(SchedulerTest, OnlyImagesOfTheSameNetworksShareABatch) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  const uint64_t first = Submit(scheduler, Request(2));
  networks_ = std::make_shared<NetworkReplicas>();
  const uint64_t second = Submit(scheduler, Request(2));
  EXPECT_THAT(Images(*NextBatch(scheduler, 0)),
              ElementsAre(std::pair(first, 0), std::pair(first, 1)));
  EXPECT_THAT(Images(*NextBatch(scheduler, 0)),
              ElementsAre(std::pair(second, 0), std::pair(second, 1)));
  EXPECT_THAT(Images(*NextBatch(scheduler, 0)),
              ElementsAre(std::pair(first, 0), std::pair(first, 1)));
}

TEST_F(SchedulerTest, ALargeRequestDoesNotHoldUpASmallOne) {
  Scheduler scheduler({.max_batch_rows = 4, .max_active_rows = 4}, clock_);
  Submit(scheduler, Request(100));
  const uint64_t small = Submit(scheduler, Request(1));
  EXPECT_THAT(sinks_[1]->positions(), ElementsAre(0));
  auto batch = NextBatch(scheduler, 0);
  scheduler.Remove(0, batch->images[0], absl::OkStatus());
  scheduler.Remove(0, batch->images[1], absl::OkStatus());
  batch = NextBatch(scheduler, 0);
  std::set<uint64_t> running;
  for (const auto& [id, index] : Images(*batch)) running.insert(id);
  EXPECT_TRUE(running.contains(small));
}

TEST_F(SchedulerTest, AFullQueueIsUnavailableWithADelay) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2, .queue_size = 1}, clock_);
  Submit(scheduler, Request(2));
  Submit(scheduler, Request(1));
  EXPECT_EQ(scheduler.QueueDepth(), 1);
  const auto refused = scheduler.Submit(Request(1), std::make_shared<RecordingSink>());
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(GetRetryDelay(refused.status()).has_value());
}

TEST_F(SchedulerTest, PositionsFallAsTheQueueMoves) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2}, clock_);
  Submit(scheduler, Request(2));
  Submit(scheduler, Request(1));
  Submit(scheduler, Request(1));
  EXPECT_THAT(sinks_[0]->positions(), IsEmpty());
  EXPECT_THAT(sinks_[2]->positions(), ElementsAre(1));
  const auto batch = NextBatch(scheduler, 0);
  scheduler.Remove(0, batch->images[0], absl::OkStatus());
  NextBatch(scheduler, 0);
  EXPECT_THAT(sinks_[2]->positions(), ElementsAre(1, 0));
}

TEST_F(SchedulerTest, AnEndedRequestIsGoneAtTheNextEvaluation) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  const uint64_t cancelled = Submit(scheduler, Request(3));
  const uint64_t other = Submit(scheduler, Request(1));
  NextBatch(scheduler, 0);
  scheduler.End(cancelled, absl::CancelledError(""));
  EXPECT_FALSE(sinks_[0]->finished());
  EXPECT_THAT(Images(*NextBatch(scheduler, 0)), ElementsAre(std::pair(other, 0)));
  EXPECT_EQ(sinks_[0]->status(), absl::CancelledError(""));
  EXPECT_EQ(sinks_[0]->finishes(), 1);
  EXPECT_EQ(scheduler.ActiveRows(0), 1);
}

// Whoever watches the loop hears that it is empty, although there is nothing to run.
TEST_F(SchedulerTest, TheNextBatchIsEmptyOnceTheLastRequestHasEnded) {
  Scheduler scheduler({}, clock_);
  const uint64_t last = Submit(scheduler, Request(2));
  NextBatch(scheduler, 0);
  scheduler.End(last, absl::CancelledError(""));
  const auto batch = NextBatch(scheduler, 0);
  ASSERT_TRUE(batch.has_value());
  EXPECT_THAT(batch->images, IsEmpty());
  EXPECT_EQ(scheduler.ActiveRows(0), 0);
  EXPECT_TRUE(sinks_[0]->finished());
}

TEST_F(SchedulerTest, AWaitingRequestCanBeEndedToo) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2}, clock_);
  Submit(scheduler, Request(2));
  const uint64_t waiting = Submit(scheduler, Request(5));
  scheduler.End(waiting, absl::CancelledError(""));
  NextBatch(scheduler, 0);
  EXPECT_EQ(sinks_[1]->status(), absl::CancelledError(""));
  EXPECT_EQ(scheduler.QueueDepth(), 0);
}

TEST_F(SchedulerTest, ADeadlineThatPassesEndsARequest) {
  Scheduler scheduler({.max_batch_rows = 4, .max_active_rows = 4}, clock_);
  GenerationRequest hurried = Request(2);
  hurried.deadline = clock_.Now() + absl::Seconds(1);
  Submit(scheduler, std::move(hurried));
  Submit(scheduler, Request(1));
  EXPECT_EQ(NextBatch(scheduler, 0)->images.size(), 3u);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(NextBatch(scheduler, 0)->images.size(), 1u);
  EXPECT_EQ(sinks_[0]->status()->code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(SchedulerTest, ADeadlineThatCannotBeMetIsRefusedAtOnce) {
  Scheduler scheduler({}, clock_);
  scheduler.RecordEvaluation(networks_, absl::Milliseconds(300));
  scheduler.RecordEvaluation(
      networks_, absl::Milliseconds(100));  // the shortest counts: 10 evaluations take 1 s
  GenerationRequest hurried = Request(1);
  hurried.deadline = clock_.Now() + absl::Milliseconds(999);
  const auto refused = scheduler.Submit(hurried, std::make_shared<RecordingSink>());
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kDeadlineExceeded);
  hurried.deadline = clock_.Now() + absl::Milliseconds(1001);
  Submit(scheduler, hurried);
}

TEST_F(SchedulerTest, AFailedImageEndsItsRequestAndNoOther) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  Submit(scheduler, Request(2));
  const uint64_t healthy = Submit(scheduler, Request(1));
  const auto batch = NextBatch(scheduler, 0);
  scheduler.Remove(0, batch->images[0], absl::InternalError("broken"));
  EXPECT_THAT(Images(*NextBatch(scheduler, 0)), ElementsAre(std::pair(healthy, 0)));
  EXPECT_EQ(sinks_[0]->status(), absl::InternalError("broken"));
  EXPECT_FALSE(sinks_[1]->finished());
}

TEST_F(SchedulerTest, ImagesSpreadOverTheWorkers) {
  Scheduler scheduler({.workers = 2, .max_batch_rows = 8, .max_active_rows = 8}, clock_);
  Submit(scheduler, Request(6));
  EXPECT_EQ(NextBatch(scheduler, 0)->images.size(), 3u);
  EXPECT_EQ(NextBatch(scheduler, 1)->images.size(), 3u);
}

TEST_F(SchedulerTest, ARequestOnTwoWorkersEndsOnceWhenBothHaveLetGo) {
  Scheduler scheduler({.workers = 2, .max_batch_rows = 8, .max_active_rows = 8}, clock_);
  const uint64_t id = Submit(scheduler, Request(2));
  Submit(scheduler, Request(2));
  scheduler.End(id, absl::CancelledError(""));
  NextBatch(scheduler, 0);
  EXPECT_FALSE(sinks_[0]->finished());
  NextBatch(scheduler, 1);
  EXPECT_EQ(sinks_[0]->finishes(), 1);
}

TEST_F(SchedulerTest, DrainingRefusesNewRequestsAndWaitsForTheOthers) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2}, clock_);
  Submit(scheduler, Request(1));
  EXPECT_FALSE(scheduler.Drain(absl::UnixEpoch()));
  const auto refused = scheduler.Submit(Request(1), std::make_shared<RecordingSink>());
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  const auto batch = NextBatch(scheduler, 0);
  scheduler.Remove(0, batch->images[0], absl::OkStatus());
  EXPECT_TRUE(scheduler.Drain(absl::InfiniteFuture()));
  EXPECT_EQ(sinks_[0]->status(), absl::OkStatus());
}

TEST_F(SchedulerTest, StoppingEndsTheWorkersLoop) {
  Scheduler scheduler({}, clock_);
  scheduler.Stop();
  EXPECT_FALSE(NextBatch(scheduler, 0).has_value());
}

}  // namespace
}  // namespace denoise
