// Which requests the scheduler admits, and what it says of those that wait.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "server/scheduling/scheduler.h"
#include "tests/server/scheduling/recording_work.h"
#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;

constexpr absl::Duration kRow = absl::Milliseconds(100);

class AdmissionTest : public testing::Test {
 protected:
  const Scheduler::Options small_ = {.max_batch_rows = 2, .max_active_rows = 2};

  WorkDemand Request(int evaluations, const std::string& tenant = "") const {
    return {.network = network_, .evaluations = evaluations, .flow = {tenant}};
  }
  WorkDemand RequestDue(int evaluations, absl::Duration left) const {
    WorkDemand demand = Request(evaluations);
    demand.deadline = clock_.Now() + left;
    return demand;
  }

  absl::Status Submit(Scheduler& scheduler, WorkDemand demand) {
    works_.push_back(std::make_shared<RecordingWork>(std::move(demand)));
    return scheduler.Submit(works_.back()).status();
  }

  // An evaluation takes as long as its rows, however many share it.
  void Measure(Scheduler& scheduler) const {
    for (int i = 0; i < 3; ++i) {
      for (const int rows : {1, 2, 4}) {
        scheduler.RecordEvaluation(network_, 0, 0, rows, kRow * rows);
      }
    }
  }

  FakeClock clock_;
  std::shared_ptr<const int> network_ = std::make_shared<int>();
  std::vector<std::shared_ptr<RecordingWork>> works_;
};

TEST_F(AdmissionTest, CostsAreUnknownUntilAnEvaluationHasBeenMeasured) {
  Scheduler scheduler({}, clock_);
  EXPECT_EQ(scheduler.CostOf(Request(10)), std::nullopt);
  EXPECT_EQ(scheduler.FittingEvaluations(RequestDue(10, kRow)), 10);
  ASSERT_TRUE(Submit(scheduler, RequestDue(1000, kRow)).ok());
  Measure(scheduler);
  EXPECT_THAT(scheduler.CostOf(Request(10)), Optional(absl::Seconds(1)));
}

TEST_F(AdmissionTest, ARequestCostsItsEvaluationsItsEncodingAndItsDecoding) {
  Scheduler scheduler({}, clock_);
  Measure(scheduler);
  scheduler.RecordStage(Stage::kEncode, network_, 0, 0, absl::Milliseconds(30));
  scheduler.RecordStage(Stage::kDecode, network_, 0, 0, absl::Milliseconds(500));
  WorkDemand demand = Request(10);
  demand.items = 2;
  demand.rows_max = demand.rows_first = 2;
  demand.first_stage = Stage::kEncode;
  demand.decodes = true;
  EXPECT_THAT(scheduler.CostOf(demand), Optional(2 * (absl::Seconds(2) + absl::Milliseconds(530))));
}

TEST_F(AdmissionTest, ADeadlineThatCannotBeMetAloneIsRefusedWithTheEstimate) {
  Scheduler scheduler({}, clock_);
  Measure(scheduler);
  EXPECT_TRUE(Submit(scheduler, RequestDue(10, absl::Seconds(1.01))).ok());
  Scheduler idle({}, clock_);
  Measure(idle);
  const absl::Status refused = Submit(idle, RequestDue(10, absl::Milliseconds(450)));
  EXPECT_EQ(refused.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(GetErrorReason(refused), kDeadlineTooShortReason);
  EXPECT_EQ(GetErrorMetadata(refused).at("estimated_seconds"), "1");
  EXPECT_EQ(GetErrorMetadata(refused).at("fitting_evaluations"), "4");
  EXPECT_EQ(refused.message(),
            "the deadline cannot be met: the request is expected to take 1 s and has 0.45 s left; "
            "about 4 evaluations of 10 fit. Ask for fewer steps, set allow_fewer_steps, or allow "
            "more time");
}

TEST_F(AdmissionTest, ADeadlineThatCannotBeMetBesideOthersIsRefused) {
  Scheduler scheduler({}, clock_);
  Measure(scheduler);
  for (int i = 0; i < 9; ++i) {
    ASSERT_TRUE(Submit(scheduler, RequestDue(10, absl::Seconds(9))).ok());
  }
  const absl::Status refused = Submit(scheduler, RequestDue(10, absl::Seconds(9.5)));
  EXPECT_EQ(GetErrorMetadata(refused).at("estimated_seconds"), "10");
  EXPECT_TRUE(Submit(scheduler, RequestDue(10, absl::Seconds(11))).ok());
  EXPECT_TRUE(Submit(scheduler, RequestDue(10, absl::Seconds(2))).ok()) << "it goes first";
}

// Those are due after five times their own second.
TEST_F(AdmissionTest, ANearDeadlineGoesBeforeRequestsThatAreDueLater) {
  Scheduler scheduler({}, clock_);
  Measure(scheduler);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Submit(scheduler, Request(10)).ok());
  EXPECT_TRUE(Submit(scheduler, RequestDue(10, absl::Seconds(2))).ok());
  EXPECT_EQ(GetErrorMetadata(Submit(scheduler, RequestDue(200, absl::Seconds(40))))
                .at("estimated_seconds"),
            "41");
}

// Otherwise a measurement that is too high would refuse everything that could correct it.
TEST_F(AdmissionTest, AnIdleServerRefusesOnlyWhatItsBestSpeedCouldNotDo) {
  Scheduler scheduler({}, clock_);
  scheduler.RecordEvaluation(network_, 0, 0, 1, kRow);
  for (int i = 0; i < 50; ++i) scheduler.RecordEvaluation(network_, 0, 0, 1, 10 * kRow);
  EXPECT_TRUE(Submit(scheduler, RequestDue(10, absl::Seconds(2))).ok());
}

TEST_F(AdmissionTest, FewerEvaluationsFitBesideOthers) {
  Scheduler scheduler({}, clock_);
  Measure(scheduler);
  EXPECT_EQ(scheduler.FittingEvaluations(RequestDue(100, absl::Seconds(5))), 45) << "with a margin";
  EXPECT_EQ(scheduler.FittingEvaluations(RequestDue(100, absl::Seconds(50))), 100);
  ASSERT_TRUE(Submit(scheduler, Request(1000)).ok());
  EXPECT_EQ(scheduler.FittingEvaluations(RequestDue(1000, absl::Seconds(50))), 450)
      << "the other is due later";
  EXPECT_EQ(scheduler.FittingEvaluations(RequestDue(100, absl::Milliseconds(50))), 0);
}

TEST_F(AdmissionTest, OutstandingCostFallsAsWorkIsDone) {
  Scheduler scheduler(small_, clock_);
  Measure(scheduler);
  ASSERT_TRUE(Submit(scheduler, Request(10)).ok());
  ASSERT_TRUE(Submit(scheduler, Request(20)).ok());
  ASSERT_TRUE(Submit(scheduler, Request(30)).ok());
  EXPECT_EQ(scheduler.OutstandingCost(), absl::Seconds(6));
  const auto turn = scheduler.NextTurn(0);
  for (WorkItem* item : std::get<Batch>(*turn).items) item->evaluations_left -= 5;
  EXPECT_EQ(scheduler.OutstandingCost(), absl::Seconds(5.5)) << "one row is a full batch";
}

TEST_F(AdmissionTest, ARequestThatWaitsIsToldForHowLong) {
  Scheduler scheduler(small_, clock_);
  Measure(scheduler);
  for (const int evaluations : {10, 20, 5, 5}) {
    ASSERT_TRUE(Submit(scheduler, Request(evaluations)).ok());
  }
  EXPECT_THAT(works_[2]->positions(), ElementsAre(0));
  EXPECT_THAT(works_[2]->expected_wait(), Optional(absl::Seconds(1)));
  EXPECT_THAT(works_[3]->positions(), ElementsAre(1));
  EXPECT_THAT(works_[3]->expected_wait(), Optional(absl::Seconds(1.5)));
  const auto queue = scheduler.Queue();
  ASSERT_EQ(queue.size(), 2u);
  EXPECT_EQ(queue[1].work, works_[3]);
  EXPECT_THAT(queue[1].place.expected_wait, Optional(absl::Seconds(1.5)));
}

TEST_F(AdmissionTest, ATenantIsRefusedAtItsQueueSizeAndOthersAreNot) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2, .tenant_queue_size = 1}, clock_);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Submit(scheduler, Request(9, "a")).ok());
  const absl::Status refused = Submit(scheduler, Request(9, "a"));
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorReason(refused), kTenantLimitReason);
  EXPECT_EQ(GetQuotaViolation(refused)->subject, "tenant a");
  EXPECT_TRUE(GetRetryDelay(refused).has_value());
  EXPECT_TRUE(Submit(scheduler, Request(9, "b")).ok());
}

TEST_F(AdmissionTest, ATenantIsRefusedAtItsCostAndToldWhenToRetry) {
  Scheduler scheduler({.tenant_cost_max = absl::Seconds(10)}, clock_);
  Measure(scheduler);
  ASSERT_TRUE(Submit(scheduler, Request(300, "a")).ok()) << "one request may exceed it alone";
  const absl::Status refused = Submit(scheduler, Request(10, "a"));
  EXPECT_EQ(GetErrorReason(refused), kTenantLimitReason);
  EXPECT_THAT(GetRetryDelay(refused), Optional(absl::Seconds(21)));
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("accepted requests still need 30 s of a device, and this one 1 s"));
  EXPECT_TRUE(Submit(scheduler, Request(10, "b")).ok());
}

// A tenant that has filled the queue leaves room for others up to their share.
TEST_F(AdmissionTest, NobodyCanFillTheQueueForAll) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2, .queue_size = 8}, clock_);
  int loud = 0;
  while (Submit(scheduler, Request(9, "loud")).ok()) ++loud;
  EXPECT_EQ(loud, 2 + 8);
  int quiet = 0;
  while (Submit(scheduler, Request(9, "quiet")).ok()) ++quiet;
  EXPECT_EQ(quiet, 1 + 4) << "one began";
  EXPECT_FALSE(Submit(scheduler, Request(9, "loud")).ok());
  const absl::Status refused = Submit(scheduler, Request(9, "quiet"));
  EXPECT_EQ(GetErrorReason(refused), kQueueFullReason);
}

// Neither by its priorities nor together with others.
TEST_F(AdmissionTest, ATenantOfAllPrioritiesLeavesRoomForOthers) {
  Scheduler scheduler({.max_batch_rows = 2, .max_active_rows = 2, .queue_size = 8}, clock_);
  for (const char* tenant : {"a", "b", "c", "d"}) {
    for (const Priority priority : {Priority::kBatch, Priority::kNormal, Priority::kInteractive}) {
      WorkDemand demand = Request(9);
      demand.flow = {tenant, priority};
      while (Submit(scheduler, demand).ok()) {
      }
    }
  }
  EXPECT_TRUE(Submit(scheduler, Request(9, "quiet")).ok());
}

TEST_F(AdmissionTest, WhatAnotherProcessMeasuredIsNoReasonToRefuse) {
  Scheduler scheduler({}, clock_);
  scheduler.AssumeEvaluation(network_, 0, 0, 1, absl::Hours(1));
  EXPECT_THAT(scheduler.CostOf(Request(2)), Optional(absl::Hours(2)));
  EXPECT_TRUE(Submit(scheduler, RequestDue(10, absl::Seconds(1))).ok());
  scheduler.RecordEvaluation(network_, 0, 0, 1, kRow);
  EXPECT_THAT(scheduler.CostOf(Request(2)), Optional(2 * kRow));
}

TEST_F(AdmissionTest, LargerBatchesAreTriedNowAndThen) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(Submit(scheduler, Request(1000)).ok());
  Measure(scheduler);
  int larger = 0;
  for (int turn = 0; turn < 200; ++turn) {
    const int rows = std::get<Batch>(*scheduler.NextTurn(0)).rows;
    larger += rows == 8;
    scheduler.RecordEvaluation(network_, 0, 0, rows, kRow * rows);
  }
  EXPECT_EQ(larger, 3);
}

TEST_F(AdmissionTest, BatchesGrowNoLargerThanTheKneeOfThroughput) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(Submit(scheduler, Request(100)).ok());
  EXPECT_EQ(std::get<Batch>(*scheduler.NextTurn(0)).rows, 8);
  Measure(scheduler);  // two rows take twice as long as one
  EXPECT_EQ(std::get<Batch>(*scheduler.NextTurn(0)).rows, 1);
}

TEST_F(AdmissionTest, BatchesAreHalvedOnceMemoryHasRunOut) {
  Scheduler scheduler({.max_batch_rows = 8, .max_active_rows = 8}, clock_);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(Submit(scheduler, Request(100)).ok());
  scheduler.LimitRows(network_, 0, 0, 8);
  EXPECT_EQ(std::get<Batch>(*scheduler.NextTurn(0)).rows, 4);
  scheduler.LimitRows(network_, 0, 0, 4);
  scheduler.LimitRows(network_, 0, 0, 8);
  EXPECT_EQ(std::get<Batch>(*scheduler.NextTurn(0)).rows, 2);
}

}  // namespace
}  // namespace denoise
