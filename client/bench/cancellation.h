// Ends a benchmark early: Ctrl-C, seen by its parts.
#pragma once

#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"

namespace denoise {

// Thread-safe.
class Cancellation {
 public:
  // Calls the listener, if there is one. Later calls have no effect.
  void Cancel();
  bool cancelled() const;

  // Returns at `time`, or earlier once cancelled. Whether it was not cancelled.
  bool WaitUntil(absl::Time time) const;

  // Calls `listener` when cancelled, and right now if that has happened. An empty one removes it;
  // once this returns, the old one is not running.
  void SetListener(std::function<void()> listener);

 private:
  mutable Mutex mutex_;
  mutable CondVar changed_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;

  // Held while a listener runs, which may ask whether this is cancelled.
  Mutex listener_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  std::function<void()> listener_ ABSL_GUARDED_BY(listener_mutex_);
};

}  // namespace denoise
