// What the scheduler schedules: requests made of items, each of which takes rows of network calls
// until it is finished, and turns before and after them where its model encodes and decodes. The
// scheduler sees numbers and whom to notify; what an item computes is known to its request and its
// worker only.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/scheduling/fair_share.h"

namespace denoise {

// What joins and leaves a loop together.
enum class Batching {
  kEvaluation,  // items, at any evaluation
  // Requests of equal settings, as dynamic batching of whole requests has it: a loop that has begun
  // takes nothing more until all of its items are finished.
  kRequest,
  kNone,  // the items of one request
};

// What an item does in its next turn.
enum class Stage { kEncode, kEvaluate, kDecode };

// Items with equal keys may share a turn.
struct BatchKey {
  const void* network = nullptr;  // the identity of a model
  int64_t height = 0;             // of x
  int64_t width = 0;
  Stage stage = Stage::kEvaluate;

  auto operator<=>(const BatchKey&) const = default;
};

// What a request asks of a device. Constant once the request is submitted.
struct WorkDemand {
  std::shared_ptr<const void> network;  // items of the same network share its calls ...
  int64_t height = 0;                   // ... if their x has the same size
  int64_t width = 0;
  int row_size = 1;  // of x: how many of the model's own size one row is like, rounded up
  Stage first_stage = Stage::kEvaluate;
  bool decodes = false;        // whether an item's last evaluation is followed by decoding
  bool encodes_alone = false;  // an item's encoding takes a turn of its own
  int items = 1;               // at least 1
  int evaluations = 1;         // of each item
  int rows_first = 1;          // of an item's first evaluation
  int rows_max = 1;   // the most that any evaluation takes, at most Options::max_batch_rows
  int rows_full = 1;  // what an evaluation takes where no guidance interval saves rows
  // A hash of what requests must have in common to run in lockstep. See Batching::kRequest.
  uint64_t settings = 0;
  Flow flow;
  absl::Time deadline = absl::InfiniteFuture();
};

// One item in a worker's loop. The scheduler owns it. Only the item's worker touches it, but for
// `evaluations_left`, which any thread reads to estimate how long others will wait.
struct WorkItem {
  explicit WorkItem(int item_index) : index(item_index) {}
  virtual ~WorkItem() = default;

  // Set by the scheduler.
  uint64_t work_id = 0;
  absl::Time waiting_since;  // its last turn; its placement before the first
  bool had_turn = false;     // or is having its first one: its worker knows it
  bool evaluated = false;    // at least once, or about to be
  int restarts = 0;          // because its worker had failed
  const int index;           // which item of the request
  // Kept current by its worker.
  int rows = 1;                            // of its next evaluation
  std::atomic<int> evaluations_left = -1;  // -1: all that its request says
  Stage stage = Stage::kEvaluate;
};

// Where a request that has not started is in the queue.
struct QueuePlace {
  int position = 0;  // requests ahead of it
  absl::Time as_of;  // when that was so
  // From then until its first item starts, as far as costs are known.
  std::optional<absl::Duration> expected_wait;
};

// A request. Its constant parts may be read by any thread.
class Work {
 public:
  explicit Work(WorkDemand demand) : demand_(std::move(demand)) {}
  virtual ~Work() = default;

  const WorkDemand& demand() const { return demand_; }

  // Makes an item to be placed in a loop. Called under the scheduler's lock: cheap, and calls
  // nothing of the scheduler.
  virtual std::unique_ptr<WorkItem> MakeItem(int index) = 0;

  // Called without the lock, by any thread, possibly late: calls may arrive out of order and after
  // the first item has begun.
  virtual void OnQueued(const QueuePlace& place) = 0;

  // Whether the request would rather end now and continue elsewhere than run to its end here: asked
  // when the scheduler drains, and by Scheduler::HandOver. Called without the lock.
  virtual bool AcceptsHandover() { return false; }

  // An item leaves its loop before its end, because the request has ended. Called without the lock,
  // by the item's worker.
  virtual void OnDropped(WorkItem& /*item*/) {}

  // The item's worker has failed, and another one begins it again: what it holds on the worker's
  // device is lost. Called without the lock, by the worker that has failed.
  virtual void OnWorkerFailed(WorkItem& /*item*/) {}

  // Called exactly once, without the lock, unless Scheduler::Submit has failed. Nothing is called
  // afterwards, unless a worker hangs: then it may still drop items.
  virtual void OnFinished(const absl::Status& status) = 0;

 private:
  const WorkDemand demand_;
};

}  // namespace denoise
