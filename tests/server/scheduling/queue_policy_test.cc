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
  request.flow = {std::string(1, static_cast<char>('a' + Uniform(random, 0, 2))),
                  static_cast<Priority>(Uniform(random, 0, 2))};
  request.network = Uniform(random, 0, 2);
}

constexpr int kHalf = std::max(kOptions.max_batch_rows, kOptions.max_active_rows / 2);

int RowsHeld(const LoopLoad& loop, const WaitingWork& work) {
  const auto held = loop.rows_of_work.find(work.id);
  return held == loop.rows_of_work.end() ? 0 : held->second;
}

// Whether the request could exceed its half of the loop with another item.
bool HasItsHalf(const LoopLoad& loop, const WaitingWork& work) {
  const int held = RowsHeld(loop, work);
  return held > 0 && held + work.rows > kHalf;
}

// Whether some loop has room for another item of the request.
bool FindsRoom(const SimulatedDecision& decision, int request) {
  const auto at = std::find(decision.requests.begin(), decision.requests.end(), request);
  const WaitingWork& work = decision.waiting[at - decision.requests.begin()];
  return std::any_of(decision.loops.begin(), decision.loops.end(), [&](const LoopLoad& loop) {
    return !HasItsHalf(loop, work) && loop.TotalRows() + work.rows <= kOptions.max_active_rows;
  });
}

// Today's order, in the words of a queue: the first request that finds room places one item and goes
// to the back.
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
      const auto next = std::find_if(queue.begin(), queue.end(),
                                     [&](int request) { return FindsRoom(decision, request); });
      ASSERT_NE(next, queue.end());
      const int front = *next;
      ASSERT_EQ(decision.requests[decision.placement->work], front) << "trace " << seed;
      queue.erase(next);
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

TEST(QueuePolicyTraces, LoopsHoldAtMostTheirRowsForOneFlowAndFourTimesThatForSeveral) {
  for (const int times : {1, 4}) {
    const auto vary = times == 1 ? VaryRows : VaryEverything;
    int most = 0;
    for (int seed = 0; seed < kTraces; ++seed) {
      QueueSimulation simulation(kOptions, 1 + seed % 3, kEvaluation);
      simulation.on_decision = [&](const SimulatedDecision& decision) {
        for (const LoopLoad& loop : decision.loops) {
          most = std::max(most, loop.TotalRows());
          ASSERT_LE(loop.TotalRows(), times * kOptions.max_active_rows) << "trace " << seed;
          ASSERT_TRUE(decision.placement != nullptr || loop.TotalRows() > 0 ||
                      decision.waiting.empty())
              << "trace " << seed << ": a loop is empty while requests wait";
        }
      };
      simulation.Run(RandomTrace(seed, vary));
      if (HasFatalFailure()) return;
    }
    EXPECT_GE(most, times > 1 ? 2 * kOptions.max_active_rows : kOptions.max_active_rows);
  }
}

TEST(QueuePolicyTraces, ARequestHasAtMostHalfOfALoop) {
  int most = 0;
  for (int seed = 0; seed < kTraces; ++seed) {
    QueueSimulation simulation(kOptions, 1 + seed % 3, kEvaluation);
    simulation.on_decision = [&](const SimulatedDecision& decision) {
      for (const LoopLoad& loop : decision.loops) {
        for (const auto& [request, rows] : loop.rows_of_work) most = std::max(most, rows);
      }
    };
    simulation.Run(RandomTrace(seed, VaryEverything));
  }
  EXPECT_EQ(most, kHalf);
}

// Whoever finds loops full of others' rows begins at once, up to its share.
TEST(QueuePolicyTraces, AFlowBelowItsShareNeverWaitsForTheRowsOfOthers) {
  int64_t begun = 0;
  for (int seed = 0; seed < kTraces; ++seed) {
    QueueSimulation simulation(kOptions, 1, kEvaluation);
    simulation.on_decision = [&](const SimulatedDecision& decision) {
      const LoopLoad& loop = decision.loops.front();
      begun += decision.placement != nullptr && loop.TotalRows() >= kOptions.max_active_rows;
      if (decision.placement != nullptr) return;
      for (const WaitingWork& work : decision.waiting) {
        const double share = decision.shares[work.flow] * kOptions.max_active_rows;
        ASSERT_TRUE(HasItsHalf(loop, work) || loop.rows[work.flow] + work.rows > share ||
                    loop.TotalRows() + work.rows > 4 * kOptions.max_active_rows)
            << "trace " << seed;
      }
    };
    simulation.Run(RandomTrace(seed, [](std::mt19937& random, SimulatedRequest& request) {
      request.flow.tenant = Uniform(random, 0, 4) == 0 ? "rare" : "often";
    }));
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(begun, 0);
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
          if (HasItsHalf(loop, work)) continue;
          if (loop.TotalRows() + work.rows <= kOptions.max_active_rows) ++room;
        }
        unused += room > 0;
        ASSERT_LE(room, LoopsClosed(decision.waiting, work.rows)) << "trace " << seed;
      }
    };
    simulation.Run(RandomTrace(seed, VaryRows));
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
      const auto roomier =
          std::count_if(decision.loops.begin(), decision.loops.end(), [&](const LoopLoad& loop) {
            return &loop != &chosen && loop.TotalRows() <= chosen.TotalRows();
          });
      ASSERT_GE(roomier, closed) << "trace " << seed;
    };
    simulation.Run(RandomTrace(seed, VaryRows));
    if (HasFatalFailure()) return;
  }
}

// One or two requests arrive with each evaluation, for a loop that takes eight rows.
TEST(QueuePolicyTraces, ARequestBeginsWithinTwoEvaluationsOfItsPlacement) {
  int begun = 0;
  for (int seed = 0; seed < kTraces; ++seed) {
    QueueSimulation simulation({.max_batch_rows = 8, .max_active_rows = 1000}, 1, kEvaluation);
    simulation.on_evaluation = [&](int, bool is_its_first, int waited) {
      if (!is_its_first) return;
      ++begun;
      ASSERT_LE(waited, 2) << "trace " << seed;
    };
    std::mt19937 random(seed);
    std::vector<SimulatedRequest> trace(Uniform(random, 20, 40));
    absl::Time now = At(1);
    for (SimulatedRequest& request : trace) {
      request.arrival = now += Uniform(random, 1, 2) * kEvaluation / 2;
      request.evaluations = Uniform(random, 1, 50);
      request.items = Uniform(random, 1, 4);
    }
    simulation.Run(trace);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(begun, 20 * kTraces);
}

// How much longer each request takes than alone, at worst, and on average over `kTraces` traces of
// long and short requests that keep a device busy.
double MeanLargestSlowdown(double slowdown) {
  double sum = 0;
  for (int seed = 0; seed < kTraces; ++seed) {
    std::mt19937 random(seed);
    std::vector<SimulatedRequest> trace(40);
    absl::Time now = At(1);
    for (SimulatedRequest& request : trace) {
      request.arrival = now += absl::Milliseconds(Uniform(random, 0, 600));
      request.evaluations = Uniform(random, 0, 3) == 0 ? Uniform(random, 50, 100) : 5;
    }
    const auto ended = QueueSimulation({.max_batch_rows = 4, .slowdown = slowdown}, 1, kEvaluation)
                           .Run(trace)
                           .ended;
    double largest = 0;
    for (int i = 0; i < static_cast<int>(trace.size()); ++i) {
      largest = std::max(largest, absl::FDivDuration(ended.at(i) - trace[i].arrival,
                                                     kEvaluation * trace[i].evaluations));
    }
    sum += largest;
  }
  return sum / kTraces;
}

TEST(QueuePolicyTraces, TheLargestSlowdownIsSmallerThanInOrderOfArrival) {
  EXPECT_LT(MeanLargestSlowdown(5), MeanLargestSlowdown(0) / 2);
}

// Requests of one evaluation arrive as fast as they can run.
TEST(QueuePolicyTraces, ALongRequestHasHalfOfAllTurnsOnceItIsDue) {
  std::vector<SimulatedRequest> trace = {{.arrival = At(1), .evaluations = 40}};
  for (int i = 0; i < 1000; ++i) {
    trace.push_back({.arrival = At(1) + i * kEvaluation, .evaluations = 1});
  }
  const auto ended = QueueSimulation({.max_batch_rows = 1, .max_active_rows = 64}, 1, kEvaluation)
                         .Run(trace)
                         .ended;
  EXPECT_LT(ended.at(0) - At(1), (5 * 40 + 2 * 40 + 2) * kEvaluation);
  EXPECT_GT(ended.at(0) - At(1), 2 * 40 * kEvaluation) << "nothing has delayed it";
}

// Evaluations' rows of each flow while all of them have more to run than they get.
std::map<Flow, int> RowsServed(const std::vector<Flow>& flows, int evaluations) {
  std::vector<SimulatedRequest> trace;
  for (const Flow& flow : flows) {
    for (int i = 0; i < 2 * kOptions.max_active_rows; ++i) {
      trace.push_back({.arrival = At(1), .evaluations = evaluations, .flow = flow});
    }
  }
  std::map<Flow, int> served;
  QueueSimulation simulation(kOptions, 1, kEvaluation);
  int calls = 0;
  simulation.on_batch = [&](std::span<const int> requests) {
    if (calls++ >= evaluations) return;
    for (const int request : requests) ++served[trace[request].flow];
  };
  simulation.Run(trace);
  return served;
}

TEST(QueuePolicyTraces, BusyFlowsAreServedByTheirShares) {
  constexpr int kCalls = 400, kRows = kCalls * kOptions.max_batch_rows;
  const std::vector<std::vector<Flow>> cases = {
      {{"a"}, {"b"}},
      {{"a"}, {"b"}, {"c"}},
      {{"a", Priority::kBatch}, {"a", Priority::kNormal}, {"a", Priority::kInteractive}},
      // The priorities of one tenant do not touch the part of another.
      {{"a", Priority::kBatch}, {"b", Priority::kInteractive}, {"b", Priority::kNormal}}};
  for (const std::vector<Flow>& flows : cases) {
    const auto served = RowsServed(flows, kCalls);
    const std::vector<double> shares = Shares(flows, {});
    for (size_t i = 0; i < flows.size(); ++i) {
      EXPECT_NEAR(served.at(flows[i]), shares[i] * kRows, kOptions.max_batch_rows)
          << flows[i].tenant << " of " << flows.size();
    }
  }
}

// However many requests another tenant has, one that wants less than its share takes part in every
// evaluation.
TEST(QueuePolicyTraces, ATenantBelowItsShareIsInEveryEvaluation) {
  for (const int flood : {1, 10, 100, 1000}) {
    std::vector<SimulatedRequest> trace = {
        {.arrival = At(1), .evaluations = 50, .flow = {"quiet"}}};
    for (int i = 0; i < flood; ++i) {
      trace.push_back({.arrival = At(1), .evaluations = 20, .flow = {"loud"}});
    }
    QueueSimulation simulation(kOptions, 1, kEvaluation);
    int calls = 0;
    simulation.on_batch = [&](std::span<const int> requests) {
      const bool takes_part = std::find(requests.begin(), requests.end(), 0) != requests.end();
      EXPECT_EQ(takes_part, calls++ < 50) << flood << " requests beside it, call " << calls;
    };
    simulation.Run(trace);
  }
}

// A request that fills a batch.
SimulatedRequest Due(absl::Time arrival, absl::Time deadline) {
  SimulatedRequest request;
  request.arrival = arrival;
  request.rows = 8;
  request.deadline = deadline;
  return request;
}

// The deadlines fall while the requests wait: the last to arrive is the first to be due.
TEST(QueuePolicyTraces, TheEarliestDeadlineOfAFlowGoesFirst) {
  std::vector<SimulatedRequest> trace;
  for (int i = 0; i < 20; ++i) {
    trace.push_back(Due(At(1), At(25) - absl::Seconds(i)));
  }
  const auto ended =
      QueueSimulation({.max_batch_rows = 8, .max_active_rows = 8}, 1, kEvaluation).Run(trace).ended;
  for (int i = 2; i < 20; ++i) EXPECT_LT(ended.at(i), ended.at(i - 1)) << i;
}

// Requests with deadlines arrive as fast as they can run, for longer than the patience.
TEST(QueuePolicyTraces, ARequestWithoutADeadlineWaitsNoLongerThanThePatience) {
  constexpr absl::Duration kPatience = absl::Seconds(10);
  std::vector<SimulatedRequest> trace;
  for (int i = 0; i < 300; ++i) {
    const absl::Time arrival = At(1) + i * kEvaluation / 2;
    trace.push_back(Due(arrival, arrival + absl::Seconds(5)));
    if (i == 20) trace.push_back(Due(arrival, absl::InfiniteFuture()));
  }
  QueueSimulation simulation({.max_batch_rows = 8, .max_active_rows = 8, .patience = kPatience}, 1,
                             kEvaluation);
  const auto ended = simulation.Run(trace).ended;
  EXPECT_GT(ended.at(21) - trace[21].arrival, absl::Seconds(4));
  EXPECT_LT(ended.at(21) - trace[21].arrival, kPatience + 3 * kEvaluation);
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

constexpr double kOneFlow[] = {1};
constexpr FlowInLoop kAlone[] = {{}};

TEST(QueuePolicy, OrdersByWhatFlowsHoldForTheirShare) {
  const std::vector<WaitingWork> waiting = {{.flow = 0, .waiting_since = At(1), .last_event = 1},
                                            {.flow = 0, .waiting_since = At(1), .last_event = 2},
                                            {.flow = 1, .waiting_since = At(2), .last_event = 3},
                                            {.flow = 1, .waiting_since = At(2), .last_event = 4}};
  const std::vector<double> equal = {0.5, 0.5}, favoured = {0.2, 0.8};
  EXPECT_THAT(QueuePolicy({}).Order(waiting, equal, {0, 0}, At(3)), ElementsAre(0, 2, 1, 3));
  EXPECT_THAT(QueuePolicy({}).Order(waiting, equal, {2, 0}, At(3)), ElementsAre(2, 3, 0, 1));
  EXPECT_THAT(QueuePolicy({}).Order(waiting, favoured, {1, 1}, At(3)), ElementsAre(2, 3, 0, 1));
}

TEST(QueuePolicy, OrdersAFlowByDeadlineAndThoseWithoutByTheirWait) {
  const std::vector<WaitingWork> waiting = {
      {.waiting_since = At(95), .last_event = 4},
      {.waiting_since = At(90), .last_event = 3},
      {.waiting_since = At(99), .deadline = At(110), .last_event = 5},
      {.waiting_since = At(99), .deadline = At(105), .last_event = 6},
      {.waiting_since = At(70), .last_event = 1},                       // due at 100
      {.waiting_since = At(94), .deadline = At(999), .last_event = 2},  // as if it had none
      {.waiting_since = At(80), .deadline = At(100), .last_event = 7}   // past
  };
  EXPECT_THAT(QueuePolicy({.patience = absl::Seconds(30)}).Order(waiting, kOneFlow, {0}, At(100)),
              ElementsAre(4, 3, 2, 1, 5, 0));
}

TEST(QueuePolicy, ALoopOfWholeRequestsTakesEqualOnesUntilItBegins) {
  const QueuePolicy policy(
      {.batching = Batching::kRequest, .max_batch_rows = 4, .max_active_rows = 16});
  const std::vector<WaitingWork> waiting = {{.id = 7, .settings = 1, .waiting_since = At(0)},
                                            {.id = 8, .settings = 2, .waiting_since = At(1)}};
  LoopLoad loop = {.rows = {3}, .work = 6, .settings = 2};
  const auto place = [&] { return policy.Place(waiting, kOneFlow, std::vector{loop}, At(2)); };
  EXPECT_EQ(place()->work, 1u);
  loop.settings = 3;
  EXPECT_FALSE(place().has_value()) << "other settings";
  loop = {.rows = {4}, .work = 6, .settings = 2};
  EXPECT_FALSE(place().has_value()) << "the batch is full";
  loop = {.rows = {1}, .work = 6, .settings = 2, .has_begun = true};
  EXPECT_FALSE(place().has_value()) << "it has begun";
  loop = {.rows = {0}};
  EXPECT_EQ(place()->work, 0u);
}

TEST(QueuePolicy, ALoopOfOneRequestTakesNoOther) {
  const QueuePolicy policy(
      {.batching = Batching::kNone, .max_batch_rows = 4, .max_active_rows = 16});
  const std::vector<WaitingWork> waiting = {{.id = 7, .waiting_since = At(0)},
                                            {.id = 8, .waiting_since = At(1)}};
  const auto place = [&](uint64_t work, bool has_begun) {
    const LoopLoad loop = {.rows = {1}, .work = work, .has_begun = has_begun};
    return policy.Place(waiting, kOneFlow, std::vector{loop}, At(2));
  };
  EXPECT_EQ(place(8, false)->work, 1u);
  EXPECT_FALSE(place(8, true).has_value());
  EXPECT_FALSE(place(6, false).has_value());
}

TEST(QueuePolicy, PlacesWhereThereAreTheFewestRowsAndThenTheFewestTasks) {
  const QueuePolicy policy({.max_active_rows = 4});
  const std::vector<WaitingWork> waiting = {{.waiting_since = At(0)}};
  const std::vector<LoopLoad> rows = {{.rows = {3}}, {.rows = {1}, .tasks = 2}, {.rows = {2}}};
  EXPECT_EQ(policy.Place(waiting, kOneFlow, rows, At(1))->loop, 1u);
  const std::vector<LoopLoad> tasks = {{.rows = {1}, .tasks = 2}, {.rows = {1}, .tasks = 1}};
  EXPECT_EQ(policy.Place(waiting, kOneFlow, tasks, At(1))->loop, 1u);
}

TEST(QueuePolicy, OvertakesWhatFitsNoLoopUntilThatHasBeenOvertakenEnough) {
  const QueuePolicy policy({.max_batch_rows = 4, .max_active_rows = 4});
  std::vector<WaitingWork> waiting = {
      {.rows = 4, .waiting_since = At(0), .last_event = 1, .overtaken_by_rows = 3},
      {.rows = 1, .waiting_since = At(0), .last_event = 2}};
  const std::vector<LoopLoad> loops = {{.rows = {2}}};
  const auto placement = policy.Place(waiting, kOneFlow, loops, At(1));
  ASSERT_TRUE(placement.has_value());
  EXPECT_EQ(placement->work, 1u);
  EXPECT_THAT(placement->overtaken, ElementsAre(0));
  waiting[0].overtaken_by_rows = 4;
  EXPECT_FALSE(policy.Place(waiting, kOneFlow, loops, At(1)).has_value());
  const std::vector<LoopLoad> two_loops = {{.rows = {2}}, {.rows = {3}}};
  EXPECT_EQ(policy.Place(waiting, kOneFlow, two_loops, At(1))->loop, 1u)
      << "the other loop is open";
  waiting[0].overtaken_by_rows = 8;
  EXPECT_FALSE(policy.Place(waiting, kOneFlow, two_loops, At(1)).has_value()) << "both are closed";
}

TEST(QueuePolicy, EveryRequestOvertakenEnoughClosesALoopOfItsOwn) {
  const QueuePolicy policy({.max_batch_rows = 4, .max_active_rows = 4});
  const WaitingWork wide = {
      .rows = 4, .waiting_since = At(0), .last_event = 1, .overtaken_by_rows = 4};
  const WaitingWork narrow = {.rows = 1, .waiting_since = At(0), .last_event = 2};
  const std::vector<LoopLoad> loops = {{.rows = {2}}, {.rows = {3}}, {.rows = {1}}};
  EXPECT_EQ(policy.Place(std::vector{wide, narrow}, kOneFlow, loops, At(1))->loop, 0u);
  EXPECT_EQ(policy.Place(std::vector{wide, wide, narrow}, kOneFlow, loops, At(1))->loop, 1u);
  EXPECT_FALSE(
      policy.Place(std::vector{wide, wide, wide, narrow}, kOneFlow, loops, At(1)).has_value());
}

TEST(QueuePolicy, AnItemOvertakesByNoMoreRowsThanAllLoopsHold) {
  const QueuePolicy policy({.max_batch_rows = 4, .max_active_rows = 4});
  const std::vector<WaitingWork> waiting = {
      {.rows = 4, .waiting_since = At(0), .last_event = 1, .overtaken_by_rows = 3},
      {.rows = 2, .waiting_since = At(0), .last_event = 2},
      {.rows = 1, .waiting_since = At(0), .last_event = 3}};
  const std::vector<LoopLoad> loops = {{.rows = {1}}};
  EXPECT_EQ(policy.Place(waiting, kOneFlow, loops, At(1))->work, 2u);
}

TEST(QueuePolicy, ABatchSkipsWhatDoesNotFitAndOtherNetworks) {
  const QueuePolicy policy({.max_batch_rows = 4});
  const int a = 0, b = 0;
  const std::vector<LoopItem> items = {{{&a}, 2}, {{&b}, 1}, {{&a}, 3},
                                       {{&a}, 1}, {{&a}, 1}, {{&a}, 1}};
  EXPECT_THAT(policy.ChooseBatch(items, kAlone, 1), ElementsAre(0, 3, 4));
}

TEST(QueuePolicy, ABatchHoldsItemsOfOneSizeAndStage) {
  const QueuePolicy policy({.max_batch_rows = 4});
  const int a = 0;
  const std::vector<LoopItem> items = {{{&a, 64, 64}, 1}, {{&a, 64, 32}, 1},
                                       {{&a, 32, 64}, 1}, {{&a, 64, 64, Stage::kEncode}, 1},
                                       {{&a, 64, 64}, 1}, {{&a, 64, 64, Stage::kDecode}, 1}};
  EXPECT_THAT(policy.ChooseBatch(items, kAlone, 1), ElementsAre(0, 4));
}

TEST(QueuePolicy, ABatchHoldsFewerRowsOfLargerImages) {
  const QueuePolicy policy({.max_batch_rows = 8});
  const int a = 0;
  const LoopItem large = {.key = {&a, 128, 128}, .rows = 1, .row_size = 4};
  const std::vector<LoopItem> items(5, large);
  EXPECT_THAT(policy.ChooseBatch(items, kAlone, 1), ElementsAre(0, 1));
  const LoopItem huge = {.key = {&a, 512, 512}, .rows = 2, .row_size = 64};
  EXPECT_THAT(policy.ChooseBatch(std::vector<LoopItem>(3, huge), kAlone, 1), ElementsAre(0));
}

TEST(QueuePolicy, ATurnDecodesOneItem) {
  const QueuePolicy policy({.max_batch_rows = 4});
  const int a = 0;
  const std::vector<LoopItem> items(
      2, {.key = {&a, 64, 64, Stage::kDecode}, .rows = 1, .alone = true});
  EXPECT_THAT(policy.ChooseBatch(items, kAlone, 1), ElementsAre(0));
}

TEST(QueuePolicy, PicturesAreEncodedOneByOneAndPromptsTogether) {
  const QueuePolicy policy({.max_batch_rows = 4});
  const int a = 0;
  LoopItem prompt = {.key = {&a, 64, 64, Stage::kEncode}, .rows = 1};
  LoopItem picture = prompt;
  picture.alone = true;
  EXPECT_THAT(policy.ChooseBatch(std::vector{prompt, picture, prompt}, kAlone, 1),
              ElementsAre(0, 2));
  EXPECT_THAT(policy.ChooseBatch(std::vector{picture, prompt}, kAlone, 1), ElementsAre(0));
}

TEST(QueuePolicy, ABatchHoldsNoMoreRowsThanItsKindMay) {
  const int a = 0;
  std::vector<LoopItem> items(5, {.key = {&a}, .rows = 1, .rows_max = 3});
  EXPECT_THAT(QueuePolicy({.max_batch_rows = 4}).ChooseBatch(items, kAlone, 1),
              ElementsAre(0, 1, 2));
  for (LoopItem& item : items) item.rows = 4;  // an item runs whatever it takes
  EXPECT_THAT(QueuePolicy({.max_batch_rows = 4}).ChooseBatch(items, kAlone, 1), ElementsAre(0));
}

TEST(QueuePolicy, ABatchBeginsWithTheFlowThatHasHadLeast) {
  const int a = 0, b = 0;
  const std::vector<LoopItem> items = {{.key = {&a}, .rows = 1, .flow = 0},
                                       {.key = {&b}, .rows = 1, .flow = 1},
                                       {.key = {&b}, .rows = 1, .flow = 0}};
  const std::vector<FlowInLoop> flows = {{.share = 0.5, .virtual_time = 3},
                                         {.share = 0.5, .virtual_time = 2}};
  EXPECT_THAT(QueuePolicy({}).ChooseBatch(items, flows, 0.1), ElementsAre(1, 2));
}

TEST(QueuePolicy, ABatchIsDividedByShares) {
  const int a = 0;
  std::vector<LoopItem> items(16, {.key = {&a}, .rows = 1, .flow = 0});
  for (int i = 8; i < 16; ++i) items[i].flow = 1;
  const std::vector<FlowInLoop> flows = {{.share = 0.25}, {.share = 0.75}};
  EXPECT_THAT(QueuePolicy({.max_batch_rows = 8}).ChooseBatch(items, flows, 0.1),
              ElementsAre(0, 1, 8, 9, 10, 11, 12, 13));
}

TEST(QueuePolicy, ARequestIsDueAfterATimeThatGrowsWithItsOwnOrAtItsDeadline) {
  const QueuePolicy policy({.slowdown = 3});
  EXPECT_EQ(policy.DueTime(At(10), absl::Seconds(4), absl::InfiniteFuture()), At(22));
  EXPECT_EQ(policy.DueTime(At(10), absl::Seconds(4), At(15)), At(15));
  EXPECT_EQ(policy.DueTime(At(10), absl::ZeroDuration(), absl::InfiniteFuture()), At(10));
}

class ChooseBatchTest : public testing::Test {
 protected:
  // The only one of `items` that a batch of one row takes.
  size_t First(const std::vector<LoopItem>& items) const {
    return QueuePolicy({.max_batch_rows = 1, .patience = absl::Seconds(30)})
        .ChooseBatch(items, kAlone, 1)
        .front();
  }
  LoopItem Item(double due) const {
    return {.key = {&network_}, .rows = 1, .waiting_since = At(100), .due = At(due)};
  }

 private:
  const int network_ = 0;
};

TEST_F(ChooseBatchTest, PrefersWhatIsDueFirst) {
  EXPECT_EQ(First({Item(130), Item(110), Item(120)}), 1u);
}

TEST_F(ChooseBatchTest, PrefersWhatHasPausedForLong) {
  LoopItem paused = Item(900);
  paused.waiting_since = At(75);  // due at 105
  EXPECT_EQ(First({Item(110), paused, Item(120)}), 1u);
}

TEST_F(ChooseBatchTest, PrefersTheFirstEvaluationOfARequest) {
  LoopItem opening = Item(900);
  opening.opens = true;
  EXPECT_EQ(First({Item(110), opening}), 1u);
}

TEST_F(ChooseBatchTest, LeavesForLastWhatYields) {
  LoopItem yielding = Item(110);
  yielding.yields = yielding.opens = true;
  EXPECT_EQ(First({yielding, Item(900)}), 1u);
  EXPECT_EQ(First({yielding}), 0u);
}

}  // namespace
}  // namespace denoise
