// How many lines of one kind the log gets, where callers can cause them.
#pragma once

#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "server/connections/token_bucket.h"

namespace denoise {

// 16 at once, and one a second in the long run. Thread-safe.
class LogLimit {
 public:
  // `clock` outlives it.
  explicit LogLimit(const Clock* clock) : clock_(clock) {}

  // How many lines were left out before this one; nullopt if it is to be left out, too.
  std::optional<int> Take() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    if (bucket_.Take(clock_->Now())) return std::exchange(left_out_, 0);
    ++left_out_;
    return std::nullopt;
  }

 private:
  static constexpr TokenBucket::Rate kRate = {.burst = 16, .per_second = 1};

  const Clock* const clock_;
  Mutex mutex_;
  TokenBucket bucket_ ABSL_GUARDED_BY(mutex_){kRate, clock_->Now()};
  int left_out_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace denoise
