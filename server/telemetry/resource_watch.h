// Looks now and then at what fills up by itself: the memory of devices, the disk of the state.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"

namespace denoise {

// Has one thread, so that a disk or a driver that does not answer holds up nothing else. What it
// calls outlives it.
class ResourceWatch {
 public:
  using Look = std::function<void()>;

  // Calls `looks` on its thread at once, and again every `interval` of `clock`.
  ResourceWatch(std::vector<Look> looks, absl::Duration interval, const Clock* clock);
  ~ResourceWatch();  // none is running or will be called afterwards

  ResourceWatch(const ResourceWatch&) = delete;
  ResourceWatch& operator=(const ResourceWatch&) = delete;

 private:
  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitForNextRound() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::vector<Look> looks_;
  const absl::Duration interval_;
  const Clock* const clock_;
  Mutex mutex_;
  CondVar stopped_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all others
};

}  // namespace denoise
