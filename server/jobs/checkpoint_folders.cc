#include "server/jobs/checkpoint_folders.h"

#include <utility>

#include "server/jobs/files.h"

namespace denoise {

absl::StatusOr<std::shared_ptr<CheckpointFolder>> CheckpointFolders::Get(int64_t job) {
  const MutexLock lock(mutex_);
  std::shared_ptr<CheckpointFolder>& folder = folders_[job];
  if (folder == nullptr) {
    absl::StatusOr<CheckpointFolder> opened = CheckpointFolder::Open(state_->checkpoints(job));
    if (!opened.ok()) return DiskStatus(opened.status());
    folder = std::make_shared<CheckpointFolder>(*std::move(opened));
  }
  return folder;
}

void CheckpointFolders::Forget(int64_t job) {
  const MutexLock lock(mutex_);
  folders_.erase(job);
}

}  // namespace denoise
