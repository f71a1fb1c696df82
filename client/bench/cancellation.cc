#include "client/bench/cancellation.h"

#include <utility>

namespace denoise {

void Cancellation::Cancel() {
  const MutexLock listener_lock(listener_mutex_);
  {
    const MutexLock lock(mutex_);
    if (std::exchange(cancelled_, true)) return;
    changed_.NotifyAll();
  }
  if (listener_) listener_();
}

bool Cancellation::cancelled() const {
  const MutexLock lock(mutex_);
  return cancelled_;
}

bool Cancellation::WaitUntil(absl::Time time) const {
  const MutexLock lock(mutex_);
  while (!cancelled_) {
    if (changed_.WaitUntil(mutex_, time)) break;
  }
  return !cancelled_;
}

void Cancellation::SetListener(std::function<void()> listener) {
  const MutexLock listener_lock(listener_mutex_);
  listener_ = std::move(listener);
  if (listener_ && cancelled()) listener_();
}

}  // namespace denoise
