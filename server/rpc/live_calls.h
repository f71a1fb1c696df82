// How many calls are under way, so that a shutdown can wait for their last bytes.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/base/retry.h"

namespace denoise {

// Thread-safe. `clock` outlives it.
class LiveCalls {
 public:
  explicit LiveCalls(const Clock* clock) : clock_(clock) {}

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

  // Returns once no call is under way, or at `deadline`.
  void WaitUntilNone(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    while (calls_ > 0 && clock_->Now() < deadline) clock_->WaitUntil(none_, mutex_, deadline);
  }

 private:
  const Clock* const clock_;
  Mutex mutex_;
  CondVar none_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
