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
  // `admit`, which may be empty, says whether the process has memory for another call. Any thread
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

  // From now on AdmitNewCall() and CheckNotDraining() refuse.
  void StartDraining() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    draining_ = true;
  }

  // For a call that begins. Refuses while the server drains or is short of memory. (The engine
  // refuses only once training has stopped.)
  absl::Status AdmitNewCall() ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::Status status = CheckNotDraining();
    return status.ok() && admit_ ? admit_() : status;
  }

  // For a call under way, before it takes or sends another message: it must not hold a draining
  // server up, but ending it because memory is short would only lose its work.
  absl::Status CheckNotDraining() ABSL_LOCKS_EXCLUDED(mutex_) {
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
  const std::function<absl::Status()> admit_;
  Mutex mutex_;
  CondVar none_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
