// The scheduler under thousands of random traces: requests join, are cancelled, run into deadlines
// and fail, on one to three workers, which may fail themselves, in virtual time.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "core/base/error_details.h"
#include "core/base/retry.h"
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

  // One turn of `worker`. Returns false if it has none. `failure` is the chance of each item, and
  // `worker_failure` that of the worker before each item.
  bool RunTurn(int worker, double failure, double worker_failure = 0) {
    if (!scheduler_.HasTurn(worker)) return false;
    const Turn turn = *scheduler_.NextTurn(worker);
    if (std::holds_alternative<Check>(turn)) {
      if (Chance(worker_failure)) FailWorker(worker);
      return true;
    }
    EXPECT_FALSE(failed_.contains(worker)) << "a failed worker has items";
    const Batch& batch = std::get<Batch>(turn);
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
      if (Chance(worker_failure)) {
        FailWorker(worker);
        return true;
      }
      Known& known = works_.at(item->work_id);
      times_[known.work->demand().flow] += kRowTime * item->rows;
      Advance(worker, item, known, failure);
    }
    return true;
  }

  void CheckWorkers() { scheduler_.CheckWorkers(); }
  bool HasWorkers() const { return static_cast<int>(failed_.size()) < options_.workers; }

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
      } else if (GetErrorReason(status) == kDeviceFailedReason) {
        EXPECT_TRUE(!HasWorkers() || known.lost_two_workers)
            << "request " << id << " could have begun again";
        EXPECT_TRUE(GetRetryDelay(status).has_value());
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
    std::map<int, int> evaluations = {};   // done, by item
    std::map<int, int> workers_lost = {};  // by item
    bool lost_two_workers = false;         // an item of it
    int items_done = 0;
    int failed = 0;
    bool cancelled = false;
  };

  void FailWorker(int worker) {
    std::map<uint64_t, size_t> displaced_before;
    for (const auto& [id, known] : works_) displaced_before[id] = known.work->displaced().size();
    scheduler_.FailWorker(worker);
    failed_.insert(worker);
    EXPECT_EQ(scheduler_.ActiveRows(worker), 0);
    for (auto& [id, known] : works_) {
      const std::vector<int>& displaced = known.work->displaced();
      for (size_t i = displaced_before[id]; i < displaced.size(); ++i) {
        EXPECT_LT(known.evaluations[displaced[i]], known.work->demand().evaluations)
            << "a finished item begins again";
        known.evaluations[displaced[i]] = 0;
        known.lost_two_workers |= ++known.workers_lost[displaced[i]] == 2;
        EXPECT_LE(known.workers_lost[displaced[i]], 2) << "an item has taken three workers with it";
      }
    }
  }

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
  std::set<int> failed_;  // workers
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

// Nothing is lost and nothing is done twice when workers fail, and what another worker could take
// is not refused.
TEST(SchedulerTraces, EveryRequestEndsOnceThoughWorkersFail) {
  int without_workers = 0;
  for (int seed = 0; seed < kTraces / 2; ++seed) {
    SCOPED_TRACE(testing::Message() << "trace " << seed);
    Scheduler::Options options = RandomOptions(seed);
    options.workers = 2 + seed % 3;
    Trace trace(seed, options);
    for (int step = 0; step < 150; ++step) {
      if (trace.Chance(0.4)) {
        const bool admitted = trace.Submit(trace.RandomDemand());
        EXPECT_TRUE(trace.HasWorkers() || !admitted);
      }
      if (trace.Chance(0.03)) trace.CancelOne();
      if (trace.Chance(0.02)) trace.CheckWorkers();
      trace.RunTurn(trace.Uniform(0, options.workers - 1), /*failure=*/0.003,
                    /*worker_failure=*/0.004);
      if (trace.Chance(0.02)) trace.clock().Advance(absl::Seconds(trace.Uniform(0, 5)));
    }
    without_workers += trace.HasWorkers() ? 0 : 1;
    trace.Finish();
    trace.ExpectEveryRequestToHaveEndedOnce();
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(without_workers, 0);
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
