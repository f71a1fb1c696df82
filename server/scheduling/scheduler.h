// Decides which items run next, on which worker. Bookkeeping only: work is opaque here (work.h),
// and the order is a pure policy (queue_policy.h) over numbers that this class keeps.
//
// Requests wait in one bounded queue. What they cost is known from measurements (cost_model.h), so a
// request whose deadline cannot be met is refused at once, and one that waits is told for how long.
// Every device's time is shared fairly among flows (fair_share.h), by what their turns take. An item
// that is placed stays in its worker's loop until it is finished.
//
// Tasks other than requests run in slices, each task on one worker: back to back while the worker
// has no items, and otherwise for a stated share of its time (time_share.h). An item that arrives
// during a slice waits for that slice only.
//
// A worker may fail for good. Its items then begin again in the loops of others, before everything
// of their flow that has not begun. An item whose second worker fails ends its request, since the
// item may be what makes them fail.
//
// A worker whose turn does not end hangs. Nobody else may touch the items that it holds, so their
// requests end; it gets nothing more until the turn ends after all.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "server/scheduling/cost_model.h"
#include "server/scheduling/device_task.h"
#include "server/scheduling/estimates.h"
#include "server/scheduling/fair_share.h"
#include "server/scheduling/queue_policy.h"
#include "server/scheduling/task_rotation.h"
#include "server/scheduling/time_share.h"
#include "server/scheduling/work.h"

namespace denoise {

// The items of one turn.
struct Batch {
  Stage stage = Stage::kEvaluate;
  std::vector<WorkItem*> items;  // each valid until passed to Scheduler::Remove
  int rows = 0;
  int rows_saved = 0;  // by guidance intervals
  absl::Time ready;    // since when these rows could have run
};

// One slice of `task`, which stays until Scheduler::EndSlice.
struct Slice {
  DeviceTask* task = nullptr;
};

// The worker finds out whether it still works.
struct Check {};

// What a worker does next.
using Turn = std::variant<Batch, Slice, Check>;

// A request that has not started.
struct Queued {
  std::shared_ptr<Work> work;
  QueuePlace place;
};

// Thread-safe. NextTurn, Remove, EndSlice and FailWorker are called by the worker that they name.
// Requests are notified and tasks released without the lock.
class Scheduler {
 public:
  struct Options {
    int workers = 1;
    Batching batching = Batching::kEvaluation;
    int max_batch_rows = 16;   // at least 2
    int max_active_rows = 64;  // of one worker, at least max_batch_rows
    // Batches grow no larger than it takes to reach this part of the best throughput measured. 1: no
    // such cap.
    double batch_efficiency = 0.98;
    int queue_size = 64;           // requests that have not started, over all workers
    double training_share = 0.25;  // of a worker's time for slices while it has items, in [0, 1)
    TenantWeights tenant_weights = {};
    int tenant_queue_size = 0;                                  // 0: no limit of its own
    absl::Duration tenant_cost_max = absl::InfiniteDuration();  // of what a tenant's requests need
    absl::Duration turn_time_max = absl::InfiniteDuration();    // see FindHangs
  };

  Scheduler(const Options& options, const Clock& clock);

  // Queues a request and returns its id. UNAVAILABLE, RESOURCE_EXHAUSTED or DEADLINE_EXCEEDED as
  // Engine::Submit.
  absl::StatusOr<uint64_t> Submit(std::shared_ptr<Work> work) ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends a request with `status` before the next evaluation. Unknown ids are ignored.
  void End(uint64_t id, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndAll(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  // As the engine's methods of these names. RemoveTask is not called by a worker.
  uint64_t AddTask(std::shared_ptr<DeviceTask> task, int worker, int priority)
      ABSL_LOCKS_EXCLUDED(mutex_);
  int LeastLoadedWorker() const ABSL_LOCKS_EXCLUDED(mutex_);
  void Wake(uint64_t task) ABSL_LOCKS_EXCLUDED(mutex_);
  void RemoveTask(uint64_t task) ABSL_LOCKS_EXCLUDED(mutex_);

  // The next turn of every worker that has not failed is a Check.
  void CheckWorkers() ABSL_LOCKS_EXCLUDED(mutex_);
  // During a turn, `worker` has failed for good. Its items leave its loop, those of the turn too.
  // From now on its turns are slices of the tasks that it has or gets, for it to end. Once the last
  // worker has failed, every request ends with DeviceFailedError.
  void FailWorker(int worker) ABSL_LOCKS_EXCLUDED(mutex_);
  // Those that have not failed and do not hang.
  int WorkingWorkers() const ABSL_LOCKS_EXCLUDED(mutex_);

  struct HangChange {
    int worker = 0;
    bool hangs = false;
  };
  // A worker hangs while its turn takes longer than Options::turn_time_max, or 20 times as long as
  // an evaluation that has been measured. From the call that finds out, the requests with items that
  // it has begun are over, with DeviceFailedError: they are notified, and handed over if they accept
  // that, although these items stay until the turn ends. Other items move to the loops of others.
  // While no worker works, every request ends. Returns what has changed since the last call.
  //
  // To be called every second or so, by no worker. A turn takes as long as these calls see it, from
  // the first to the last, and the time between two of them counts for kLongestLook at most: a clock
  // that is set and a process that was suspended make no worker hang.
  static constexpr absl::Duration kLongestLook = absl::Seconds(5);
  std::vector<HangChange> FindHangs() ABSL_LOCKS_EXCLUDED(mutex_);

  // What `worker` does now; blocks until there is something to do. Returns an empty batch where
  // every item has just been cancelled, so that the worker can report an empty loop. nullopt after
  // Stop. A turn lasts until the next call, which is how its time is measured.
  std::optional<Turn> NextTurn(int worker) ABSL_LOCKS_EXCLUDED(mutex_);

  // The slice of `worker` is over.
  void EndSlice(int worker, DeviceTask::Outcome outcome) ABSL_LOCKS_EXCLUDED(mutex_);

  // `item` leaves the loop of `worker`: it is finished, or `status` is the error that ends its
  // request.
  void Remove(int worker, WorkItem* item, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  // What an evaluation of `rows` rows of x of this size took; or took an earlier process.
  void RecordEvaluation(const std::shared_ptr<const void>& network, int64_t height, int64_t width,
                        int rows, absl::Duration time) ABSL_LOCKS_EXCLUDED(mutex_);
  void AssumeEvaluation(const std::shared_ptr<const void>& network, int64_t height, int64_t width,
                        int rows, absl::Duration time) ABSL_LOCKS_EXCLUDED(mutex_);
  // What encoding or decoding one image took.
  void RecordStage(Stage stage, const std::shared_ptr<const void>& network, int64_t height,
                   int64_t width, absl::Duration time) ABSL_LOCKS_EXCLUDED(mutex_);
  // An evaluation of so many rows has run out of memory: from now on they are at most half as many.
  // 256 evaluations later, and so on, that bound doubles.
  void LimitRows(const std::shared_ptr<const void>& network, int64_t height, int64_t width,
                 int rows) ABSL_LOCKS_EXCLUDED(mutex_);

  // What has been measured of such evaluations.
  std::vector<EvaluationCurve::Point> EvaluationTimes(const std::shared_ptr<const void>& network,
                                                      int64_t height, int64_t width) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The device time that a request like this takes; nullopt where its evaluations have not been
  // measured.
  std::optional<absl::Duration> CostOf(const WorkDemand& demand) const ABSL_LOCKS_EXCLUDED(mutex_);
  // How many evaluations an item of this request could have and meet its deadline if it were
  // submitted now: at most its own number, which is returned as well where nothing is known.
  int FittingEvaluations(const WorkDemand& demand) const ABSL_LOCKS_EXCLUDED(mutex_);
  // The device time that accepted requests still need, as far as it is known.
  absl::Duration OutstandingCost() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Refuses new requests, and ends those that accept a handover with DrainingError.
  void StartDraining() ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends one request with `status`, if it accepts a handover: at once where none of its items has
  // begun, else before the next evaluation. Unknown ids are ignored.
  void HandOver(uint64_t id, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  // Refuses new requests and waits. Returns true once every request has been notified of its end and
  // none is left but those that a hanging worker holds on to; false at `deadline`.
  bool Drain(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  // Makes every worker's NextTurn return nullopt once its loop is empty. No slice begins any more.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  int QueueDepth() const ABSL_LOCKS_EXCLUDED(mutex_);  // requests that have not started
  // Those requests, in the order in which they would start now.
  std::vector<Queued> Queue() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether NextTurn would return without waiting.
  bool HasTurn(int worker) const ABSL_LOCKS_EXCLUDED(mutex_);
  int ActiveRows(int worker) const ABSL_LOCKS_EXCLUDED(mutex_);
  // The items of the loop whose next turn is of `stage`. Called by the worker.
  int ItemsAt(int worker, Stage stage) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Items = std::list<std::unique_ptr<WorkItem>>;
  // A request that is not over.
  struct Entry {
    bool waits() const { return end.ok() && ItemsWaiting() > 0; }
    int ItemsWaiting() const {
      return work->demand().items - items_begun + static_cast<int>(displaced.size());
    }

    std::shared_ptr<Work> work;
    absl::Time due;  // QueuePolicy::DueTime
    absl::Time arrival;
    uint64_t arrival_event = 0;
    absl::Time waiting_since;
    uint64_t last_event = 0;
    int overtaken_by_rows = 0;
    int items_begun = 0;    // placed in a loop so far
    int items_active = 0;   // in a loop now, or unlinked and not yet heard of
    Items displaced = {};   // that wait to begin again, as their workers have failed
    absl::Status end;       // not OK: ends before the next evaluation
    bool notified = false;  // of its end, before a hanging worker has let go of its items
  };
  using Entries = std::map<uint64_t, Entry>;
  using Works = std::map<uint64_t, std::shared_ptr<Work>>;
  // A turn that has not ended, as far as it is charged to flows.
  struct ChargedTurn {
    absl::Time began;
    Stage stage = Stage::kEvaluate;
    int rows = 0;                        // 0: nothing is charged
    std::vector<FairAccount::Use> uses;  // of every flow in the loop, still without times
    // What it should take, if that is known: an accelerator runs behind its worker, so the time
    // between two turns may be that of another.
    std::optional<absl::Duration> expected;
  };
  struct Loop {
    bool works() const { return !failed && !hangs; }

    Items items;          // the front has waited longest
    int rows = 0;         // by rows_max
    bool checks = false;  // its next turn is a Check
    bool failed = false;  // it takes no items any more
    bool hangs = false;   // nor while this is so
    // Its present turn, as FindHangs has seen it. The first one prepares its device.
    bool in_turn = true;
    bool turn_seen = false;
    absl::Duration turn_time = absl::ZeroDuration();
    absl::Duration turn_time_max = absl::InfiniteDuration();
    TaskRotation tasks;
    TimeShare time;
    FairAccount account = {};
    ChargedTurn turn = {};
    double seconds_per_row = 0;  // of the last evaluation
    bool has_begun = false;      // since it was empty
    // Of the last turn: whose requests had their first evaluation, and whose picture it was.
    std::set<Flow> opened = {};
    std::optional<Flow> picture = {};
  };
  // Flows, and their shares if exactly these are present.
  struct FlowTable {
    size_t IndexOf(const Flow& flow) const;

    std::vector<Flow> flows;  // ascending
    std::vector<double> shares;
  };
  // The requests that wait for a loop, as the policy sees them.
  struct Waiting {
    FlowTable flows;
    std::vector<WaitingWork> work;
    std::vector<LoopLoad> loops;  // of workers that have not failed
    std::vector<size_t> workers;  // whose loops those are
  };
  // An item that has left its loop and counts as active until its request has heard of it.
  struct Dropped {
    std::shared_ptr<Work> work;
    std::unique_ptr<WorkItem> item;
  };
  // What to do once the lock is released.
  struct Notices {
    std::vector<Dropped> dropped;  // of the worker that notifies
    std::vector<Entry> over;
    std::vector<Queued> queued;
  };
  void HandOver(Works works, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  void Notify(Notices& notices) ABSL_LOCKS_EXCLUDED(mutex_);
  void Forget(Notices& notices) ABSL_LOCKS_EXCLUDED(mutex_);

  // Admission, in admission.cc.
  absl::Status Admissible(const WorkDemand& demand, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckTenant(const WorkDemand& demand) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckQueue(const WorkDemand& demand) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckDeadline(const WorkDemand& demand, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  const CostModel::Costs* CostsOf(const WorkDemand& demand) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int BatchRows(const WorkDemand& demand) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<absl::Duration> ItemCost(const WorkDemand& demand, int evaluations) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<absl::Duration> CostOfAll(const WorkDemand& demand) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<absl::Duration> TimeAlone(const WorkDemand& demand, int evaluations) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What a request would be accepted beside.
  struct Backlog {
    FlowTable flows;  // with the request's
    std::vector<OutstandingWork> works;
  };
  Backlog BacklogFor(const WorkDemand& demand) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Time DueTime(const WorkDemand& demand, int evaluations, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<absl::Duration> TimeToFinish(const WorkDemand& demand, int evaluations,
                                             const Backlog& backlog, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int FittingEvaluations(const WorkDemand& demand, const Backlog& backlog, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<absl::Duration> CostLeft(const WorkItem& item) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::map<uint64_t, absl::Duration> CostsLeft() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<std::optional<absl::Duration>> Waits(const Waiting& waiting,
                                                   const std::vector<size_t>& order) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  FlowTable PresentFlows(const Flow* another = nullptr) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  FlowTable TableOf(std::vector<Flow> flows) const;
  Waiting WaitingRequests() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  LoopLoad LoadOf(const Loop& loop, const FlowTable& flows) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<Queued> NotStarted(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int CountNotStarted() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FillLoops(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PlaceItem(uint64_t id, Loop& loop, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::unique_ptr<WorkItem> NextItem(Entry& entry, absl::Time now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Loop* LoopOfTask(uint64_t task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasTurn(const Loop& loop) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool SliceIsDue(const Loop& loop) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndExpired(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::map<uint64_t, int> EvaluationsLeft() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropEnded(Loop& loop, Notices& notices) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CollectOver(Notices& notices) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Failed workers, in failed_workers.cc.
  int CountWorking() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<HangChange> ChangedHangs(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DisplaceNotBegun(Loop& loop) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Works HeldByHangingWorkers() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndHeld(const Works& held) ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<Dropped> TakeItems(Loop& loop) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Displace(std::unique_ptr<WorkItem> item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndWithoutWorkers() ABSL_LOCKS_EXCLUDED(mutex_);
  std::unique_ptr<WorkItem> Unlink(Loop& loop, Items::iterator item)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The item still counts as active, so that its request does not end before it has heard of the
  // item: Forget or Displace stops counting it.
  std::unique_ptr<WorkItem> UnlinkStillActive(Loop& loop, Items::iterator item)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Batch TakeBatch(Loop& loop, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  LoopItem Candidate(const Loop& loop, const WorkItem& item, const FlowTable& flows) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void EndTurn(Loop& loop, absl::Time now);
  const WorkDemand& DemandOf(const WorkItem& item) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const QueuePolicy policy_;
  const Clock& clock_;

  mutable Mutex mutex_;
  CondVar work_;  // a loop got an item or a task something to do, or Stop
  CondVar slice_over_;
  CondVar idle_;                                     // a request is over and has been notified
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;     // of requests and tasks
  uint64_t last_event_ ABSL_GUARDED_BY(mutex_) = 0;  // arrivals and placements, numbered
  Entries entries_ ABSL_GUARDED_BY(mutex_);          // in order of arrival
  std::vector<Loop> loops_ ABSL_GUARDED_BY(mutex_);
  CostModel costs_ ABSL_GUARDED_BY(mutex_);
  absl::Time last_look_ ABSL_GUARDED_BY(mutex_);  // of FindHangs
  int unnotified_ ABSL_GUARDED_BY(mutex_) = 0;    // requests that are over and not yet notified
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
