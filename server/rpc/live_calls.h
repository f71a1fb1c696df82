// How many calls are under way, so that a shutdown can wait for their last bytes.
#pragma once

#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/base/retry.h"

namespace denoise {

// Thread-safe. `clock` outlives it.
class LiveCalls {
 public:
  // `admit`, which may be empty, says whether the process has room for another call. Any thread
  // calls it.
  explicit LiveCalls(const Clock* clock, std::function<absl::Status()> admit = {})
      : clock_(clock), admit_(std::move(admit)) {}

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
    {
      MutexLock lock(mutex_);
      if (draining_) return DrainingError();
    }
    return admit_ ? admit_() : absl::OkStatus();
  }

  // Returns once no call is under way, or at `deadline`.
  void WaitUntilNone(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    while (calls_ > 0 && clock_->Now() < deadline) clock_->WaitUntil(none_, mutex_, deadline);
  }

 private:
  const Clock* const clock_;
  const std::function<absl::Status()> admit_;
  Mutex mutex_;
  CondVar none_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
