// The scheduler under thousands of random traces: requests join, are cancelled, run into deadlines
// and fail, on one to three workers, in virtual time.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "server/scheduling/scheduler.h"
#include "tests/server/scheduling/recording_work.h"
#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

constexpr int kTraces = 2000;
constexpr absl::Duration kRowTime = absl::Milliseconds(10);

// Plays the workers and the callers, by turns, and checks every turn.
class Trace {
 public:
  Trace(int seed, Scheduler::Options options)
      : random_(seed), options_(std::move(options)), scheduler_(options_, clock_) {}

  int Uniform(int min, int max) { return std::uniform_int_distribution<int>(min, max)(random_); }
  bool Chance(double probability) { return std::bernoulli_distribution(probability)(random_); }

  // Returns whether it was admitted.
  bool Submit(WorkDemand demand) {
    auto work = std::make_shared<RecordingWork>(std::move(demand));
    const auto id = scheduler_.Submit(work);
    if (!id.ok()) {
      EXPECT_EQ(work->finishes(), 0);
      return false;
    }
    works_[*id] = {.work = std::move(work)};
    return true;
  }

  WorkDemand RandomDemand() {
    const int rows = Uniform(1, 4);
    WorkDemand demand{.network = networks_[Uniform(0, 2)],
                      .items = Uniform(1, 6),
                      .evaluations = Uniform(1, 12),
                      .rows_first = rows,
                      .rows_max = rows,
                      .rows_full = rows};
    demand.flow = {std::string(1, static_cast<char>('a' + Uniform(0, 2))),
                   static_cast<Priority>(Uniform(0, 2))};
    if (Chance(0.3)) demand.deadline = clock_.Now() + absl::Milliseconds(Uniform(1, 20'000));
    return demand;
  }

  void CancelOne() {
    if (works_.empty()) return;
    const auto chosen = std::next(works_.begin(), Uniform(0, static_cast<int>(works_.size()) - 1));
    scheduler_.End(chosen->first, absl::CancelledError(""));
    chosen->second.cancelled = true;
  }

  // One turn of `worker`. Returns false if it has none. `failure` is the chance of each item.
  bool RunTurn(int worker, double failure) {
    if (!scheduler_.HasTurn(worker)) return false;
    const Batch batch = std::get<Batch>(*scheduler_.NextTurn(worker));
    std::set<const WorkItem*> distinct;
    for (WorkItem* item : batch.items) {
      const Known& known = works_.at(item->work_id);
      EXPECT_TRUE(distinct.insert(item).second) << "an item is twice in a batch";
      EXPECT_FALSE(known.work->finished()) << "a finished request has a row";
      EXPECT_FALSE(known.cancelled) << "a cancelled request has a row";
      EXPECT_GT(known.work->demand().deadline, clock_.Now()) << "an expired request has a row";
      EXPECT_EQ(known.work->demand().network,
                works_.at(batch.items.front()->work_id).work->demand().network);
    }
    EXPECT_LE(batch.rows, options_.max_batch_rows);
    const absl::Duration time = kRowTime * batch.rows;
    clock_.Advance(time);
    for (WorkItem* item : batch.items) {
      Known& known = works_.at(item->work_id);
      times_[known.work->demand().flow] += kRowTime * item->rows;
      Advance(worker, item, known, failure);
    }
    return true;
  }

  // Until nothing is left to do.
  void Finish() {
    for (bool busy = true; busy;) {
      busy = false;
      for (int worker = 0; worker < options_.workers; ++worker) busy |= RunTurn(worker, 0);
    }
  }

  void ExpectEveryRequestToHaveEndedOnce() {
    for (const auto& [id, known] : works_) {
      ASSERT_EQ(known.work->finishes(), 1) << "request " << id;
      const absl::Status& status = *known.work->status();
      const int items = known.work->demand().items;
      if (status.ok()) {
        EXPECT_EQ(known.items_done, items) << "a request succeeded without all of its items";
      } else if (known.failed == 0 && !known.cancelled) {
        EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
        EXPECT_LE(known.work->demand().deadline, clock_.Now());
      }
      EXPECT_LE(known.items_done + known.failed, items);
    }
    EXPECT_TRUE(scheduler_.Drain(absl::InfinitePast()));
    for (int worker = 0; worker < options_.workers; ++worker) {
      EXPECT_EQ(scheduler_.ActiveRows(worker), 0);
    }
  }

  FakeClock& clock() { return clock_; }
  const std::shared_ptr<const void>& network() const { return networks_.front(); }
  const std::map<Flow, absl::Duration>& times() const { return times_; }

 private:
  struct Known {
    std::shared_ptr<RecordingWork> work;
    std::map<int, int> evaluations = {};  // done, by item
    int items_done = 0;
    int failed = 0;
    bool cancelled = false;
  };

  void Advance(int worker, WorkItem* item, Known& known, double failure) {
    const int done = ++known.evaluations[item->index];
    item->evaluations_left = known.work->demand().evaluations - done;
    const bool fails = Chance(failure);
    EXPECT_LE(done, known.work->demand().evaluations) << "an item runs after its end";
    if (fails) {
      ++known.failed;
      scheduler_.Remove(worker, item, absl::InternalError(""));
    } else if (done == known.work->demand().evaluations) {
      ++known.items_done;
      scheduler_.Remove(worker, item, absl::OkStatus());
    }
  }

  std::mt19937 random_;
  const Scheduler::Options options_;
  FakeClock clock_;
  Scheduler scheduler_;
  const std::vector<std::shared_ptr<const void>> networks_ = {
      std::make_shared<int>(), std::make_shared<int>(), std::make_shared<int>()};
  std::map<uint64_t, Known> works_;
  std::map<Flow, absl::Duration> times_;
};

Scheduler::Options RandomOptions(int seed) {
  constexpr Batching kBatchings[] = {Batching::kEvaluation, Batching::kEvaluation,
                                     Batching::kRequest, Batching::kNone};
  return {.workers = 1 + seed % 3,
          .batching = kBatchings[seed / 3 % 4],
          .max_batch_rows = 4 + seed % 5,
          .max_active_rows = 8 + seed % 7,
          .queue_size = 20};
}

TEST(SchedulerTraces, EveryRequestEndsOnceAndNothingRunsAfterItsEnd) {
  for (int seed = 0; seed < kTraces; ++seed) {
    SCOPED_TRACE(testing::Message() << "trace " << seed);
    const Scheduler::Options options = RandomOptions(seed);
    Trace trace(seed, options);
    for (int step = 0; step < 100; ++step) {
      if (trace.Chance(0.4)) trace.Submit(trace.RandomDemand());
      if (trace.Chance(0.05)) trace.CancelOne();
      trace.RunTurn(trace.Uniform(0, options.workers - 1), /*failure=*/0.01);
      if (trace.Chance(0.02)) trace.clock().Advance(absl::Seconds(trace.Uniform(0, 5)));
    }
    trace.Finish();
    trace.ExpectEveryRequestToHaveEndedOnce();
    if (testing::Test::HasFailure()) return;
  }
}

// Tenants with more work than they get: what each is served, over its weight, differs by a few turns
// at most, whatever their requests look like. Where there are several networks, a turn may have to
// take whoever has rows of its network, so there it differs by a few percent.
TEST(SchedulerTraces, BusyTenantsAreServedByTheirWeights) {
  for (int seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "trace " << seed);
    const bool one_network = seed % 2 == 0;
    const TenantWeights weights = {{"a", 1.0 + seed % 4}, {"b", 1.0 + seed % 3}, {"c", 1}};
    Scheduler::Options options{
        .max_batch_rows = 8, .max_active_rows = 64, .queue_size = 1000, .tenant_weights = weights};
    Trace trace(seed, options);
    for (const auto& [tenant, weight] : weights) {
      for (int i = 0; i < 40; ++i) {
        WorkDemand demand = trace.RandomDemand();
        demand.flow = {tenant, static_cast<Priority>(trace.Uniform(0, 2))};
        demand.evaluations = 1000;
        if (one_network) demand.network = trace.network();
        demand.deadline = absl::InfiniteFuture();
        ASSERT_TRUE(trace.Submit(demand));
      }
    }
    for (int turn = 0; turn < 500; ++turn) trace.RunTurn(0, 0);
    std::map<std::string, absl::Duration> times;
    for (const auto& [flow, time] : trace.times()) times[flow.tenant] += time;
    double least = 1e9, most = 0;
    for (const auto& [tenant, weight] : weights) {
      const double served = absl::ToDoubleSeconds(times[tenant]) / weight;
      least = std::min(least, served);
      most = std::max(most, served);
    }
    const absl::Duration turn = kRowTime * options.max_batch_rows;
    EXPECT_LE(most - least, one_network ? 3 * absl::ToDoubleSeconds(turn) : 0.15 * least);
    EXPECT_GT(least, 20 * absl::ToDoubleSeconds(turn));
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace denoise
