// How many calls are under way, so that a shutdown can wait for their last bytes.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"
#include "core/base/retry.h"

namespace denoise {

// Thread-safe.
class LiveCalls {
 public:
  void Add() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    ++calls_;
  }

  void Remove() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    if (--calls_ == 0) none_.NotifyAll();
  }

  // From now on Admit() refuses.
  void StartDraining() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    draining_ = true;
  }

  // For every call that begins: the engine refuses only once training has stopped.
  absl::Status Admit() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    return draining_ ? DrainingError() : absl::OkStatus();
  }

  // Returns once there is none, or at `deadline`.
  void WaitUntilNone(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    while (calls_ > 0 && !none_.WaitUntil(mutex_, deadline)) {
    }
  }

 private:
  Mutex mutex_;
  CondVar none_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
