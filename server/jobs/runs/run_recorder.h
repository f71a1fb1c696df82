// Writes what a running job reports, in order, on a thread of its own.
//
// A checkpoint is written after every event before it. So when a run resumes from a checkpoint, all
// events of earlier steps are on disk, but perhaps not those of that very step.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "core/base/mutex.h"
#include "core/train/checkpoint_folder.h"
#include "denoised/v1/training.pb.h"
#include "server/jobs/store/job_store.h"

namespace denoise {

// Thread-safe.
class RunRecorder {
 public:
  // Where a job writes to. `store` outlives the recorder.
  struct Destination {
    JobStore* store;
    std::shared_ptr<CheckpointFolder> checkpoints;  // null where the job has none
    int64_t job = 0;
    std::string tenant = {};  // whose job it is
    int keep_checkpoints = 1;
    std::vector<double> ema_decays;
  };
  // `written` is called on the recorder's thread after each item that was written, or failed.
  RunRecorder(Destination destination, std::function<void()> written);
  ~RunRecorder();  // Flush

  int64_t job() const { return destination_.job; }
  const std::string& tenant() const { return destination_.tenant; }

  void Write(denoised::v1::TrainingEvent event);
  // For events that are slow to make; `make_event` runs on the recorder's thread.
  using MakeEvent = std::function<absl::StatusOr<denoised::v1::TrainingEvent>()>;
  void WriteLater(MakeEvent make_event);
  void WriteCheckpoint(TrainingSnapshot snapshot);
  // The job no longer waits for what its reason says (JobAction::kWait).
  void WriteEndOfWait();

  // The number of items not written yet, and whether one of them is a checkpoint.
  size_t waiting() const ABSL_LOCKS_EXCLUDED(mutex_);
  bool checkpoint_waiting() const ABSL_LOCKS_EXCLUDED(mutex_);

  // The first failure; nothing is written after it. ResourceExhausted and Unavailable are the
  // disk's.
  absl::Status status() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Waits until everything is written, or one failed.
  void Flush() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Item {
    std::function<absl::Status()> write;
    bool is_checkpoint = false;
  };

  void Add(Item item) ABSL_LOCKS_EXCLUDED(mutex_);
  void Loop();
  absl::Status SaveCheckpoint(const TrainingSnapshot& snapshot);

  const Destination destination_;
  const std::function<void()> written_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::deque<Item> items_ ABSL_GUARDED_BY(mutex_);  // the front is being written
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace denoise
