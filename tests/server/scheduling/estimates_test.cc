#include "server/scheduling/estimates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/server/scheduling/queue_simulation.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::Optional;

constexpr double kAlone[] = {1};
constexpr double kTwo[] = {0.5, 0.5};

absl::Duration S(double seconds) { return absl::Seconds(seconds); }

TEST(EstimateFinish, IsTheCostOverTheDevicesWhereThereIsNothingElse) {
  EXPECT_EQ(EstimateFinish({.cost = S(6)}, {}, kAlone, 1), S(6));
  EXPECT_EQ(EstimateFinish({.cost = S(6)}, {}, kAlone, 2), S(3));
}

// Of a device that evaluates four rows in the time of one.
TEST(EstimateFinish, IsAtLeastTheTimeAloneAndMoreBesideOthers) {
  const absl::Time now = absl::UnixEpoch();
  const std::vector<OutstandingWork> others = {{.cost = S(10), .due = now}};
  const OutstandingWork work = {.cost = S(1), .alone = S(4), .due = now + S(1)};
  EXPECT_EQ(EstimateFinish(work, {}, kAlone, 1), S(4));
  EXPECT_EQ(EstimateFinish(work, others, kAlone, 1), S(10 + 1 + 1.5));
}

TEST(EstimateFinish, RequestsDueAtTheSameTimeDelayAShortOneByAsMuchAsItTakes) {
  const std::vector<OutstandingWork> others = {{.cost = S(100)}, {.cost = S(1)}};
  EXPECT_EQ(EstimateFinish({.cost = S(2)}, others, kAlone, 1), S(2 + 2 + 1));
}

TEST(EstimateFinish, WhatIsDueEarlierGoesFirstInFullAndWhatIsDueLaterWaits) {
  const absl::Time now = absl::UnixEpoch();
  const std::vector<OutstandingWork> others = {{.cost = S(100), .due = now + S(20)}};
  EXPECT_EQ(EstimateFinish({.cost = S(2), .due = now + S(25)}, others, kAlone, 1), S(102));
  EXPECT_EQ(EstimateFinish({.cost = S(2), .due = now + S(10)}, others, kAlone, 1), S(2));
}

TEST(EstimateFinish, OtherFlowsTakeTheirShareUntilTheyAreDone) {
  const std::vector<OutstandingWork> others = {{.flow = 1, .cost = S(100)}};
  EXPECT_EQ(EstimateFinish({.flow = 0, .cost = S(10)}, others, kTwo, 1), S(20));
  EXPECT_EQ(EstimateFinish({.flow = 0, .cost = S(300)}, others, kTwo, 1), S(400));
}

TEST(EstimateWaits, ThereIsNoneWhereThereIsRoom) {
  const std::vector<RunningItem> running = {{.cost = S(5)}, {.cost = S(9)}};
  const std::vector<QueuedWork> queue = {{.cost = S(1)}, {.cost = S(1)}};
  EXPECT_THAT(EstimateWaits(running, queue, 4, 1), ElementsAre(Optional(S(0)), Optional(S(0))));
}

TEST(EstimateWaits, ItemsBeginAsThoseEndThatAreDueFirst) {
  const absl::Time now = absl::UnixEpoch();
  const std::vector<RunningItem> running = {{.cost = S(9), .due = now + S(30)},
                                            {.cost = S(5), .due = now + S(20)}};
  const std::vector<QueuedWork> queue = {{.cost = S(1), .due = now + S(25)},
                                         {.cost = S(1000), .due = now + S(99)},
                                         {.cost = S(1000), .due = now + S(99)}};
  EXPECT_THAT(EstimateWaits(running, queue, 2, 1),
              ElementsAre(Optional(S(5)), Optional(S(6)), Optional(S(15))));
  EXPECT_THAT(EstimateWaits(running, queue, 2, 2)[0], Optional(S(2.5)));
}

TEST(EstimateWaits, AWideItemWaitsForEnoughRows) {
  const absl::Time now = absl::UnixEpoch();
  const std::vector<RunningItem> running = {{.cost = S(1), .due = now},
                                            {.cost = S(2), .due = now + S(1)},
                                            {.cost = S(30), .due = now + S(2)}};
  const std::vector<QueuedWork> queue = {{.rows = 2, .cost = S(1)}};
  EXPECT_THAT(EstimateWaits(running, queue, 3, 1)[0], Optional(S(1 + 2)));
}

TEST(EstimateWaits, ItemsOfARequestTakeTurnsWithThoseOfOthers) {
  const std::vector<QueuedWork> queue = {{.items = 3, .cost = S(1)}, {.items = 1, .cost = S(1)}};
  EXPECT_THAT(EstimateWaits({}, queue, 1, 1), ElementsAre(Optional(S(0)), Optional(S(1))));
}

TEST(EstimateWaits, GivesUpOnWhatIsFarAway) {
  const std::vector<QueuedWork> queue(5000, {.cost = S(1)});
  const auto waits = EstimateWaits({}, queue, 1, 1);
  EXPECT_TRUE(waits.front().has_value());
  EXPECT_FALSE(waits.back().has_value());
}

// Requests of different lengths arrive at once; the estimate of each at its arrival is compared with
// when the policy lets it end.
TEST(EstimateFinish, AgreesWithTheSimulationOfThePolicy) {
  constexpr absl::Duration kEvaluation = absl::Milliseconds(100);
  constexpr QueuePolicy::Options kOptions = {.max_batch_rows = 8, .max_active_rows = 64};
  double error = 0;
  int requests = 0;
  for (int seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    std::vector<SimulatedRequest> trace(40);
    for (SimulatedRequest& request : trace) {
      request.arrival = absl::UnixEpoch() + S(1);
      request.evaluations = std::uniform_int_distribution<int>(1, 100)(random);
    }
    const auto ended = QueueSimulation(kOptions, 1, kEvaluation).Run(trace).ended;
    const auto cost = [&](int i) { return kEvaluation * trace[i].evaluations / 8; };
    const auto due = [&](int i) {
      return QueuePolicy(kOptions).DueTime(trace[i].arrival, kEvaluation * trace[i].evaluations,
                                           absl::InfiniteFuture());
    };
    for (int i = 0; i < static_cast<int>(trace.size()); ++i) {
      std::vector<OutstandingWork> others;
      for (int j = 0; j < static_cast<int>(trace.size()); ++j) {
        if (j != i) others.push_back({.cost = cost(j), .due = due(j)});
      }
      const absl::Duration alone = kEvaluation * trace[i].evaluations;
      const absl::Duration estimate =
          EstimateFinish({.cost = cost(i), .alone = alone, .due = due(i)}, others, kAlone, 1);
      error += std::abs(absl::FDivDuration(estimate, ended.at(i) - trace[i].arrival) - 1);
      ++requests;
    }
  }
  EXPECT_LT(error / requests, 0.1);
}

}  // namespace
}  // namespace denoise
