// Notices that files have changed, so that certificates and tokens are replaced without a restart.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"

namespace denoise {

// Has one thread, which looks at every file once per interval of `clock`. Network volumes and
// Kubernetes announce no changes, so it compares inode, size and time of what a path leads to.
// Thread-safe.
class FileWatch {
 public:
  FileWatch(absl::Duration interval, const Clock* clock);
  ~FileWatch();  // no function is running or will be called afterwards

  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // Calls `on_change` on the thread each time one of `files` is not what it was at the last look,
  // the first time compared with now. Call this before reading the files, so that no change is
  // missed.
  void Add(std::vector<std::filesystem::path> files, std::function<void()> on_change)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Group {
    std::vector<std::filesystem::path> files;
    std::function<void()> on_change;
    std::string seen;
  };

  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitForNextRound() ABSL_LOCKS_EXCLUDED(mutex_);
  // The functions of the groups that have changed.
  std::vector<std::function<void()>> Changed() ABSL_LOCKS_EXCLUDED(mutex_);

  const absl::Duration interval_;
  const Clock* const clock_;
  Mutex mutex_;
  CondVar stopped_;
  std::vector<Group> groups_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace denoise
