// The checkpoint folders of all jobs, each opened once: opening one cleans it up.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "core/base/mutex.h"
#include "core/train/checkpoint_folder.h"
#include "server/jobs/state_dir.h"

namespace denoise {

// Thread-safe. Of the folder that it hands out only the job's run may call what changes it; List and
// Load read what is on the disk, and may find that it has just been removed.
class CheckpointFolders {
 public:
  explicit CheckpointFolders(const StateDir* state) : state_(state) {}

  // Errors are those of DiskStatus.
  absl::StatusOr<std::shared_ptr<CheckpointFolder>> Get(int64_t job) ABSL_LOCKS_EXCLUDED(mutex_);
  // The job is deleted.
  void Forget(int64_t job) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const StateDir* const state_;
  Mutex mutex_;
  std::map<int64_t, std::shared_ptr<CheckpointFolder>> folders_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
