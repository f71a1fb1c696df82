// What the watch holds of a call, which may look after the call is over: since when it has waited for
// the other side.
#pragma once

#include <grpcpp/server_context.h>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "server/rpc/call_watch.h"

namespace denoise {

// Thread-safe.
class StalledCall final : public WatchedCall {
 public:
  // `wait_max` is how long the other side may take over one message.
  StalledCall(grpc::CallbackServerContext* context, const Clock* clock, absl::Duration wait_max)
      : context_(context), clock_(clock), wait_max_(wait_max) {}

  void BeginWait() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    wait_began_ = clock_->Now();
  }

  void EndWait() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    wait_began_ = absl::InfiniteFuture();
  }

  // The call goes away.
  void Leave() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    context_ = nullptr;
  }

  // The caller sees CANCELLED: a status of our own might have to wait behind what is not being read.
  void CancelIfStalled() override ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    if (context_ != nullptr && clock_->Now() - wait_began_ > wait_max_) context_->TryCancel();
  }

 private:
  Mutex mutex_;
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(mutex_);
  const Clock* const clock_;
  const absl::Duration wait_max_;
  absl::Time wait_began_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
};

}  // namespace denoise
