#include "server/scheduling/queue_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>

#include "tests/server/scheduling/queue_simulation.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr int kTraces = 1000;
constexpr QueuePolicy::Options kOptions = {.max_batch_rows = 8, .max_active_rows = 16};
constexpr absl::Duration kEvaluation = absl::Milliseconds(100);

absl::Time At(double seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

int Uniform(std::mt19937& random, int min, int max) {
  return std::uniform_int_distribution<int>(min, max)(random);
}

// 5 to 40 requests that arrive faster than a few loops can run them.
std::vector<SimulatedRequest> RandomTrace(
    int seed, const std::function<void(std::mt19937&, SimulatedRequest&)>& vary) {
  std::mt19937 random(seed);
  std::vector<SimulatedRequest> trace(Uniform(random, 5, 40));
  absl::Time now = At(1);
  for (SimulatedRequest& request : trace) {
    request.arrival = now += absl::Milliseconds(Uniform(random, 0, 500));
    request.items = Uniform(random, 1, 12);
    request.evaluations = Uniform(random, 1, 10);
    vary(random, request);
  }
  return trace;
}

void VaryRows(std::mt19937& random, SimulatedRequest& request) {
  request.rows = Uniform(random, 1, 8);
}

void VaryEverything(std::mt19937& random, SimulatedRequest& request) {
  VaryRows(random, request);
  request.priority = Uniform(random, -2, 2);
  request.tenant = std::string(1, static_cast<char>('a' + Uniform(random, 0, 2)));
  request.network = Uniform(random, 0, 2);
}

// Today's order, in the words of a queue: the request at the front places one item and goes to the
// back.
TEST(QueuePolicyTraces, EqualRequestsPlaceOneItemEachInRotation) {
  for (int seed = 0; seed < kTraces; ++seed) {
    const auto trace = RandomTrace(seed, [](std::mt19937&, SimulatedRequest&) {});
    QueueSimulation simulation(kOptions, 1 + seed % 3, kEvaluation);
    std::deque<int> queue;
    std::vector<int> begun(trace.size());
    int known = 0;
    simulation.on_decision = [&](const SimulatedDecision& decision) {
      for (; known < static_cast<int>(trace.size()) && trace[known].arrival <= decision.now &&
             std::count(decision.requests.begin(), decision.requests.end(), known) > 0;
           ++known) {
        queue.push_back(known);
      }
      if (decision.placement == nullptr) return;
      ASSERT_FALSE(queue.empty());
      const int front = queue.front();
      ASSERT_EQ(decision.requests[decision.placement->work], front) << "trace " << seed;
      queue.pop_front();
      if (++begun[front] < trace[front].items) queue.push_back(front);
    };
    simulation.Run(trace);
    if (HasFatalFailure()) return;
  }
}

TEST(QueuePolicyTraces, EveryItemIsPlacedAndFinished) {
  for (int seed = 0; seed < kTraces; ++seed) {
    const auto trace = RandomTrace(seed, VaryEverything);
    const auto result = QueueSimulation(kOptions, 1 + seed % 3, kEvaluation).Run(trace);
    ASSERT_THAT(result.unfinished, IsEmpty()) << "trace " << seed;
    ASSERT_EQ(result.ended.size(), trace.size());
    for (int request = 0; request < static_cast<int>(trace.size()); ++request) {
      ASSERT_EQ(std::count(result.placed.begin(), result.placed.end(), request),
                trace[request].items);
    }
  }
}

TEST(QueuePolicyTraces, LoopsHoldNoMoreThanTheirRowsAndAreNeverEmptyWhileRequestsWait) {
  for (int seed = 0; seed < kTraces; ++seed) {
    QueueSimulation simulation(kOptions, 1 + seed % 3, kEvaluation);
    simulation.on_decision = [&](const SimulatedDecision& decision) {
      if (decision.placement != nullptr) {
        ASSERT_LE(decision.loops[decision.placement->loop].rows +
                      decision.waiting[decision.placement->work].rows,
                  kOptions.max_active_rows);
        return;
      }
      for (const LoopLoad& loop : decision.loops) {
        ASSERT_TRUE(loop.rows > 0 || decision.waiting.empty()) << "trace " << seed;
      }
    };
    simulation.Run(RandomTrace(seed, VaryEverything));
    if (HasFatalFailure()) return;
  }
}

// How many loops take nothing of `rows` rows from behind the overtaken requests, at most.
int LoopsClosed(std::span<const WaitingWork> overtaken, int rows) {
  int closed = 0;
  for (const WaitingWork& work : overtaken) {
    closed += (work.overtaken_by_rows + rows - 1) / kOptions.max_active_rows;
  }
  return closed;
}

// Room is left unused only for requests that have been overtaken enough.
TEST(QueuePolicyTraces, WhateverFitsIsPlacedUnlessLoopsAreClosed) {
  int64_t unused = 0;
  for (int seed = 0; seed < kTraces; ++seed) {
    QueueSimulation simulation(kOptions, 1 + seed % 3, kEvaluation);
    simulation.on_decision = [&](const SimulatedDecision& decision) {
      if (decision.placement != nullptr) return;
      for (const WaitingWork& work : decision.waiting) {
        int room = 0;
        for (const LoopLoad& loop : decision.loops) {
          if (loop.rows + work.rows <= kOptions.max_active_rows) ++room;
        }
        unused += room > 0;
        ASSERT_LE(room, LoopsClosed(decision.waiting, work.rows)) << "trace " << seed;
      }
    };
    simulation.Run(RandomTrace(seed, VaryEverything));
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(unused, 0) << "no trace closes a loop";
}

// One loop runs an item of `long_rows` rows throughout. A short item of one row arrives with every
// evaluation, a little more than the other rows can run. After a while, `wide` requests arrive.
std::vector<SimulatedRequest> WideAmongNarrow(int loops, int long_rows, int wide) {
  const int free_rows = loops * kOptions.max_active_rows - long_rows;
  std::vector<SimulatedRequest> trace = {
      {.arrival = At(1), .rows = long_rows, .evaluations = 100'000}};
  for (int evaluation = 0; evaluation < 600; ++evaluation) {
    const absl::Time now = At(1) + evaluation * kEvaluation;
    trace.push_back({.arrival = now, .evaluations = free_rows + 1});
    if (evaluation == 60) trace.insert(trace.end(), wide, {.arrival = now, .rows = 8});
  }
  return trace;
}

TEST(QueuePolicyTraces, NarrowRequestsStarveNoWideOnesWhateverLoopTheyRunIn) {
  constexpr QueuePolicy::Options kOneBatch = {.max_batch_rows = 16, .max_active_rows = 16};
  for (const auto& [loops, long_rows] : {std::pair(1, 8), {2, 9}, {3, 9}}) {
    for (int wide = 1; wide <= 3; ++wide) {
      const auto trace = WideAmongNarrow(loops, long_rows, wide);
      const auto ended = QueueSimulation(kOneBatch, loops, kEvaluation).Run(trace).ended;
      for (int i = 1; i < static_cast<int>(trace.size()); ++i) {
        if (trace[i].rows == 1) continue;
        EXPECT_LT(ended.at(i) - trace[i].arrival, 100 * kEvaluation)
            << wide << " of them, " << loops << " loops";
      }
    }
  }
}

TEST(QueuePolicyTraces, RequestsAreOvertakenByAtMostTheRowsOfAllLoops) {
  for (int loops = 1; loops <= 3; ++loops) {
    const int bound = loops * kOptions.max_active_rows;
    int most = 0;
    for (int seed = 0; seed < kTraces; ++seed) {
      QueueSimulation simulation(kOptions, loops, kEvaluation);
      simulation.on_decision = [&](const SimulatedDecision& decision) {
        for (const WaitingWork& work : decision.waiting) {
          most = std::max(most, work.overtaken_by_rows);
        }
      };
      simulation.Run(RandomTrace(seed, VaryRows));
    }
    EXPECT_LE(most, bound) << loops << " loops";
    EXPECT_GT(most, bound - kOptions.max_batch_rows) << "no trace comes near the bound";
  }
}

TEST(QueuePolicyTraces, LoopsClosedForRequestsFillNoFurther) {
  for (int seed = 0; seed < kTraces; ++seed) {
    QueueSimulation simulation(kOptions, 3, kEvaluation);
    simulation.on_decision = [&](const SimulatedDecision& decision) {
      if (decision.placement == nullptr) return;
      int closed = 0;
      for (const size_t i : decision.placement->overtaken) {
        closed += decision.waiting[i].overtaken_by_rows / kOptions.max_active_rows;
      }
      const LoopLoad& chosen = decision.loops[decision.placement->loop];
      const auto roomier = std::count_if(
          decision.loops.begin(), decision.loops.end(),
          [&](const LoopLoad& loop) { return &loop != &chosen && loop.rows <= chosen.rows; });
      ASSERT_GE(roomier, closed) << "trace " << seed;
    };
    simulation.Run(RandomTrace(seed, VaryRows));
    if (HasFatalFailure()) return;
  }
}

TEST(QueuePolicyTraces, ItemsOfOneNetworkWaitNoLongerThanStated) {
  int longest = 0;
  for (int seed = 0; seed < kTraces; ++seed) {
    QueueSimulation simulation(kOptions, 1 + seed % 3, kEvaluation);
    simulation.on_evaluation = [&](int rows, int waited, int loop_rows) {
      longest = std::max(longest, waited);
      ASSERT_LE(waited, 1 + (loop_rows - rows) / (kOptions.max_batch_rows - rows + 1))
          << "trace " << seed;
    };
    simulation.Run(RandomTrace(seed, VaryRows));
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(longest, 2);
}

TEST(QueuePolicyTraces, AHigherPriorityIsNeverPassedByForARequestThatHasNotAged) {
  for (int seed = 0; seed < kTraces; ++seed) {
    QueueSimulation simulation(kOptions, 1, kEvaluation);
    simulation.on_decision = [&](const SimulatedDecision& decision) {
      if (decision.placement == nullptr) return;
      const WaitingWork& placed = decision.waiting[decision.placement->work];
      if (decision.now - placed.waiting_since >= kOptions.priority_step) return;
      for (size_t i = 0; i < decision.waiting.size(); ++i) {
        if (decision.waiting[i].priority <= placed.priority) continue;
        ASSERT_THAT(decision.placement->overtaken, testing::Contains(i)) << "trace " << seed;
      }
    };
    simulation.Run(RandomTrace(seed, VaryEverything));
    if (HasFatalFailure()) return;
  }
}

// Urgent requests arrive twice as fast as they can run, and one request has a lower priority.
TEST(QueuePolicyTraces, ALowPriorityWaitsAsLongAsItTakesToAge) {
  constexpr absl::Duration kStep = absl::Seconds(1);
  for (int seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    const int gap = Uniform(random, 1, 3);
    std::vector<SimulatedRequest> trace;
    for (int i = 0; i < 100; ++i) {
      trace.push_back({.arrival = At(1 + i / 20.0), .rows = 8, .priority = gap});
    }
    trace.insert(trace.begin() + 20, {.arrival = trace[20].arrival, .rows = 8});
    QueueSimulation simulation({.max_batch_rows = 8, .max_active_rows = 16, .priority_step = kStep},
                               1, kEvaluation);
    const absl::Duration waited = simulation.Run(trace).ended.at(20) - trace[20].arrival;
    EXPECT_GE(waited, gap * kStep);
    EXPECT_LE(waited, gap * kStep + 5 * kEvaluation);
  }
}

// One tenant has many times the requests of the other.
TEST(QueuePolicyTraces, TenantsWithWaitingRequestsPlaceItemsAlternately) {
  int alternations = 0;
  for (int seed = 0; seed < kTraces; ++seed) {
    const auto trace = RandomTrace(seed, [](std::mt19937& random, SimulatedRequest& request) {
      request.tenant = Uniform(random, 0, 9) == 0 ? "rare" : "often";
    });
    QueueSimulation simulation(kOptions, 1 + seed % 2, kEvaluation);
    std::string last;
    bool both_waited = false;
    simulation.on_decision = [&](const SimulatedDecision& decision) {
      if (decision.placement == nullptr) return;
      const auto tenant = [&](size_t i) { return trace[decision.requests[i]].tenant; };
      const std::string placed = tenant(decision.placement->work);
      bool both_wait = false;
      for (size_t i = 0; i < decision.waiting.size(); ++i) both_wait |= tenant(i) != placed;
      if (both_wait && both_waited) {
        ASSERT_NE(placed, last) << "trace " << seed;
        ++alternations;
      }
      last = placed;
      both_waited = both_wait;
    };
    simulation.Run(trace);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(alternations, kTraces);
}

TEST(QueuePolicyTraces, NothingIsPlacedAfterItsDeadline) {
  int64_t missed = 0;
  for (int seed = 0; seed < kTraces; ++seed) {
    const auto trace = RandomTrace(seed, [](std::mt19937& random, SimulatedRequest& request) {
      VaryEverything(random, request);
      request.deadline = request.arrival + absl::Milliseconds(Uniform(random, 1, 5000));
    });
    QueueSimulation simulation(kOptions, 1 + seed % 3, kEvaluation);
    simulation.on_decision = [&](const SimulatedDecision& decision) {
      if (decision.placement == nullptr) return;
      ASSERT_GT(decision.waiting[decision.placement->work].deadline, decision.now);
      for (const size_t i : decision.placement->overtaken) {
        ASSERT_GT(decision.waiting[i].deadline, decision.now);
      }
    };
    missed += static_cast<int64_t>(simulation.Run(trace).unfinished.size());
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(missed, 0);
}

TEST(QueuePolicy, OrdersByPriorityThenTenantThenTheLongestWait) {
  const std::vector<WaitingWork> waiting = {
      {.priority = 0, .waiting_since = At(9), .last_event = 1, .tenant_last_event = 5},
      {.priority = 0, .waiting_since = At(9), .last_event = 2, .tenant_last_event = 3},
      {.priority = 1, .waiting_since = At(9), .last_event = 7, .tenant_last_event = 5},
      {.priority = 0, .waiting_since = At(9), .last_event = 3, .tenant_last_event = 3},
  };
  EXPECT_THAT(QueuePolicy({}).Order(waiting, At(10)), ElementsAre(2, 1, 3, 0));
}

TEST(QueuePolicy, WaitingRaisesAPriorityUpToTheHighestThatWaits) {
  const std::vector<WaitingWork> waiting = {
      {.priority = 2, .waiting_since = At(1000), .last_event = 9},
      {.priority = 0, .waiting_since = At(1000 - 60), .last_event = 2},
      {.priority = -9, .waiting_since = At(0), .last_event = 1},
      {.priority = 1, .waiting_since = At(1000 - 29), .last_event = 3},
  };
  EXPECT_THAT(QueuePolicy({}).Order(waiting, At(1000)), ElementsAre(2, 1, 0, 3));
}

TEST(QueuePolicy, AClockThatWasSetBackLowersNoPriority) {
  const std::vector<WaitingWork> waiting = {
      {.priority = 1, .waiting_since = At(5000), .last_event = 2},
      {.priority = 0, .waiting_since = At(100), .last_event = 1},
  };
  EXPECT_THAT(QueuePolicy({}).Order(waiting, At(100)), ElementsAre(0, 1));
}

TEST(QueuePolicy, PlacesWhereThereAreTheFewestRowsAndThenTheFewestTasks) {
  const QueuePolicy policy({.max_active_rows = 4});
  const std::vector<WaitingWork> waiting = {{.waiting_since = At(0)}};
  const std::vector<LoopLoad> rows = {{.rows = 3}, {.rows = 1, .tasks = 2}, {.rows = 2}};
  EXPECT_EQ(policy.Place(waiting, rows, At(1))->loop, 1u);
  const std::vector<LoopLoad> tasks = {{.rows = 1, .tasks = 2}, {.rows = 1, .tasks = 1}};
  EXPECT_EQ(policy.Place(waiting, tasks, At(1))->loop, 1u);
}

TEST(QueuePolicy, OvertakesWhatFitsNoLoopUntilThatHasBeenOvertakenEnough) {
  const QueuePolicy policy({.max_batch_rows = 4, .max_active_rows = 4});
  std::vector<WaitingWork> waiting = {
      {.rows = 4, .waiting_since = At(0), .last_event = 1, .overtaken_by_rows = 3},
      {.rows = 1, .waiting_since = At(0), .last_event = 2}};
  const std::vector<LoopLoad> loops = {{.rows = 2}};
  const auto placement = policy.Place(waiting, loops, At(1));
  ASSERT_TRUE(placement.has_value());
  EXPECT_EQ(placement->work, 1u);
  EXPECT_THAT(placement->overtaken, ElementsAre(0));
  waiting[0].overtaken_by_rows = 4;
  EXPECT_FALSE(policy.Place(waiting, loops, At(1)).has_value());
  const std::vector<LoopLoad> two_loops = {{.rows = 2}, {.rows = 3}};
  EXPECT_EQ(policy.Place(waiting, two_loops, At(1))->loop, 1u) << "the other loop is open";
  waiting[0].overtaken_by_rows = 8;
  EXPECT_FALSE(policy.Place(waiting, two_loops, At(1)).has_value()) << "both are closed";
}

TEST(QueuePolicy, EveryRequestOvertakenEnoughClosesALoopOfItsOwn) {
  const QueuePolicy policy({.max_batch_rows = 4, .max_active_rows = 4});
  const WaitingWork wide = {
      .rows = 4, .waiting_since = At(0), .last_event = 1, .overtaken_by_rows = 4};
  const WaitingWork narrow = {.rows = 1, .waiting_since = At(0), .last_event = 2};
  const std::vector<LoopLoad> loops = {{.rows = 2}, {.rows = 3}, {.rows = 1}};
  EXPECT_EQ(policy.Place(std::vector{wide, narrow}, loops, At(1))->loop, 0u);
  EXPECT_EQ(policy.Place(std::vector{wide, wide, narrow}, loops, At(1))->loop, 1u);
  EXPECT_FALSE(policy.Place(std::vector{wide, wide, wide, narrow}, loops, At(1)).has_value());
}

TEST(QueuePolicy, AnItemOvertakesByNoMoreRowsThanAllLoopsHold) {
  const QueuePolicy policy({.max_batch_rows = 4, .max_active_rows = 4});
  const std::vector<WaitingWork> waiting = {
      {.rows = 4, .waiting_since = At(0), .last_event = 1, .overtaken_by_rows = 3},
      {.rows = 2, .waiting_since = At(0), .last_event = 2},
      {.rows = 1, .waiting_since = At(0), .last_event = 3}};
  const std::vector<LoopLoad> loops = {{.rows = 1}};
  EXPECT_EQ(policy.Place(waiting, loops, At(1))->work, 2u);
}

TEST(QueuePolicy, ABatchSkipsWhatDoesNotFitAndOtherNetworks) {
  const QueuePolicy policy({.max_batch_rows = 4});
  const int a = 0, b = 0;
  const std::vector<LoopItem> items = {{{&a}, 2}, {{&b}, 1}, {{&a}, 3},
                                       {{&a}, 1}, {{&a}, 1}, {{&a}, 1}};
  EXPECT_THAT(policy.ChooseBatch(items), ElementsAre(0, 3, 4));
}

TEST(QueuePolicy, ABatchHoldsItemsOfOneSizeAndStage) {
  const QueuePolicy policy({.max_batch_rows = 4});
  const int a = 0;
  const std::vector<LoopItem> items = {{{&a, 64, 64}, 1}, {{&a, 64, 32}, 1},
                                       {{&a, 32, 64}, 1}, {{&a, 64, 64, Stage::kEncode}, 1},
                                       {{&a, 64, 64}, 1}, {{&a, 64, 64, Stage::kDecode}, 1}};
  EXPECT_THAT(policy.ChooseBatch(items), ElementsAre(0, 4));
}

TEST(QueuePolicy, ABatchHoldsFewerRowsOfLargerImages) {
  const QueuePolicy policy({.max_batch_rows = 8});
  const int a = 0;
  const LoopItem large = {.key = {&a, 128, 128}, .rows = 1, .row_size = 4};
  const std::vector<LoopItem> items(5, large);
  EXPECT_THAT(policy.ChooseBatch(items), ElementsAre(0, 1));
  const LoopItem huge = {.key = {&a, 512, 512}, .rows = 2, .row_size = 64};
  EXPECT_THAT(policy.ChooseBatch(std::vector<LoopItem>(3, huge)), ElementsAre(0));
}

TEST(QueuePolicy, ATurnDecodesOneItem) {
  const QueuePolicy policy({.max_batch_rows = 4});
  const int a = 0;
  const std::vector<LoopItem> items = {{{&a, 64, 64, Stage::kDecode}, 1},
                                       {{&a, 64, 64, Stage::kDecode}, 1}};
  EXPECT_THAT(policy.ChooseBatch(items), ElementsAre(0));
}

}  // namespace
}  // namespace denoise
