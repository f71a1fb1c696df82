// Time as a parameter, so that tests can replace it.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"

namespace denoise {

// Thread-safe. A test's clock must outlive everything it was given to.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;

  // Waits on `condition` until it is notified or Now() reaches `deadline`, which may be infinite.
  // Like every wait it may return for no reason: call it in a loop that checks both.
  virtual void WaitUntil(CondVar& condition, Mutex& mutex, absl::Time deadline) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) = 0;

  // The system's clock, which is never destroyed before its users.
  static const Clock& Real();
};

}  // namespace denoise
