// Which images run next, on which worker. Bookkeeping only: the scheduler never touches a tensor.
//
// Requests wait in one bounded queue. Whenever a worker has room, the request at the front hands
// over one image and goes to the back, so that a large request does not hold up a small one. The
// images in a worker's loop rotate: each batch takes those that have waited longest, as many as the
// cap admits. So an image of r rows waits at most 1 + (rows - r) / (cap - r + 1) evaluations, rounded
// down, where one model is served: ceil(rows / cap) for images of one row. Models that share a loop
// take turns.
//
// Tasks that are not generation run in slices, each on one worker: back to back where it has no
// images, and else for a stated share of its time (time_share.h). So an image that arrives during a
// slice waits for that one only.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/diffusion/trajectory.h"
#include "server/engine/active_generation.h"
#include "server/engine/device_task.h"
#include "server/engine/task_rotation.h"
#include "server/engine/time_share.h"

namespace denoise {

// One image in a worker's loop. The scheduler owns it; its worker alone touches it.
struct ActiveImage {
  std::shared_ptr<ActiveGeneration> generation;
  int index = 0;                         // which image of the request
  int rows = 1;                          // of its next evaluation; kept by the worker
  std::optional<Trajectory> trajectory;  // made by the worker, at the first evaluation
};

struct Batch {
  std::vector<ActiveImage*> images;  // each valid until passed to Scheduler::Remove
  int rows = 0;
  int rows_saved = 0;  // by the intervals of guidance
  absl::Time ready;    // since when these rows could have run
};

// One slice of `task`, which stays until Scheduler::EndSlice.
struct Slice {
  DeviceTask* task = nullptr;
};

// What a worker does next.
using Turn = std::variant<Batch, Slice>;

// Thread-safe. NextTurn, Remove and EndSlice are called by the worker that they name. Sinks are told,
// and tasks let go of, without the lock.
class Scheduler {
 public:
  struct Options {
    int workers = 1;
    int max_batch_rows = 16;       // at least 2
    int max_active_rows = 64;      // of one worker, at least max_batch_rows
    int queue_size = 64;           // generations that have not started, over all workers
    double training_share = 0.25;  // of a worker's time for slices while it has images, in [0, 1)
  };

  Scheduler(const Options& options, const Clock& clock);

  // Queues a generation, or says why not: UNAVAILABLE or DEADLINE_EXCEEDED, as Engine::Submit does.
  absl::StatusOr<uint64_t> Submit(GenerationRequest request, std::shared_ptr<GenerationSink> sink)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends a generation with `status` before the next evaluation. Unknown ids are ignored.
  void End(uint64_t id, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndAll(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  // As the engine's methods of these names. RemoveTask is not called by a worker.
  uint64_t AddTask(std::shared_ptr<DeviceTask> task, int worker, int priority)
      ABSL_LOCKS_EXCLUDED(mutex_);
  int LeastLoadedWorker() const ABSL_LOCKS_EXCLUDED(mutex_);
  void Wake(uint64_t task) ABSL_LOCKS_EXCLUDED(mutex_);
  void RemoveTask(uint64_t task) ABSL_LOCKS_EXCLUDED(mutex_);

  // What `worker` does now; blocks until there is something. A batch is empty where all of it has
  // just been cancelled, so that the worker can tell that its loop is empty. nullopt after Stop.
  // Turns last until the next call: that is how their time is told.
  std::optional<Turn> NextTurn(int worker) ABSL_LOCKS_EXCLUDED(mutex_);

  // The slice of `worker` is over.
  void EndSlice(int worker, DeviceTask::Outcome outcome) ABSL_LOCKS_EXCLUDED(mutex_);

  // `image` leaves the loop of `worker`: it is finished, or `status` says why not, which ends its
  // generation.
  void Remove(int worker, ActiveImage* image, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // An evaluation of `networks` took this long; the shortest tells which deadlines cannot be met.
  void RecordEvaluation(const std::shared_ptr<const NetworkReplicas>& networks,
                        absl::Duration duration) ABSL_LOCKS_EXCLUDED(mutex_);

  // Refuses new generations, and waits by the system's clock. Returns true once none is left and every sink has heard, false at
  // `deadline`.
  bool Drain(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  // Lets every worker's NextTurn return nullopt once its loop is empty; no slice begins any more.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  int QueueDepth() const ABSL_LOCKS_EXCLUDED(mutex_);  // generations that have not started
  int ActiveRows(int worker) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    std::shared_ptr<ActiveGeneration> generation;
    int row_cost = 1;       // rows an image takes at most
    int images_begun = 0;   // handed to a loop so far
    int images_active = 0;  // in a loop now
    absl::Status end;       // not OK: ends before the next evaluation
  };
  using Entries = std::map<uint64_t, Entry>;
  struct Loop {
    std::list<std::unique_ptr<ActiveImage>> images;  // the front has waited longest
    int rows = 0;                                    // by row cost
    TaskRotation tasks;
    TimeShare time;
  };
  struct FastestEvaluation {
    std::weak_ptr<const NetworkReplicas> networks;
    absl::Duration duration;
  };
  // To be told once the lock is released.
  struct Notices {
    std::vector<std::unique_ptr<ActiveImage>> dropped;
    std::vector<Entry> over;
    std::vector<std::shared_ptr<ActiveGeneration>> queued;  // by position
  };
  void Tell(Notices& notices) ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Status Admissible(const GenerationRequest& request) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<std::shared_ptr<ActiveGeneration>> NotStarted() const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int CountNotStarted() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FillLoops() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Loop* LoopWithRoom(int row_cost) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Loop* LoopOfTask(uint64_t task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool SliceIsDue(const Loop& loop) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Sweep(Loop& loop, absl::Time now, Notices& notices) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::unique_ptr<ActiveImage> Unlink(Loop& loop,
                                      std::list<std::unique_ptr<ActiveImage>>::iterator image)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CollectIfOver(Entries::iterator entry, Notices& notices)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Batch TakeBatch(Loop& loop) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const Clock& clock_;

  mutable Mutex mutex_;
  CondVar work_;  // a loop got an image or a task something to do, or Stop
  CondVar slice_over_;
  CondVar idle_;  // a generation is over and its sink has heard of it
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;  // of generations and tasks
  Entries entries_
      ABSL_GUARDED_BY(mutex_);  // every generation that is not over, in order of arrival
  std::deque<uint64_t> queue_ ABSL_GUARDED_BY(mutex_);  // those with images that no loop has yet
  std::vector<Loop> loops_ ABSL_GUARDED_BY(mutex_);
  std::map<const NetworkReplicas*, FastestEvaluation> fastest_ ABSL_GUARDED_BY(mutex_);
  int untold_ ABSL_GUARDED_BY(mutex_) = 0;  // generations that are over, of which no sink has heard
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
