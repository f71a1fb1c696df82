// Ends the calls whose other side stalls: a connection that answers pings, but on which nobody
// reads or sends, would otherwise keep its call, and the call's images, forever.
#pragma once

#include <grpcpp/server_context.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"

namespace denoise {

// Since when a call has waited for its other side. Thread-safe; may outlive the call.
class WatchedCall {
 public:
  // `wait_max` is how long the other side may take over one message.
  WatchedCall(grpc::CallbackServerContext* context, const Clock* clock, absl::Duration wait_max)
      : context_(context), clock_(clock), wait_max_(wait_max) {}

  void BeginWait() ABSL_LOCKS_EXCLUDED(mutex_);
  void EndWait() ABSL_LOCKS_EXCLUDED(mutex_);

  // The call is over, and its context goes away.
  void Leave() ABSL_LOCKS_EXCLUDED(mutex_);

  // Cancels the call where the other side has taken too long. The caller sees CANCELLED: a status
  // of our own might have to wait behind what is not being read.
  void CancelIfStalled() ABSL_LOCKS_EXCLUDED(mutex_);

  // Whether CancelIfStalled has cancelled it.
  bool stalled() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable Mutex mutex_;
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(mutex_);
  const Clock* const clock_;
  const absl::Duration wait_max_;
  absl::Time wait_began_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool stalled_ ABSL_GUARDED_BY(mutex_) = false;
};

// Has one thread, which looks at every call once per interval of `clock`. Thread-safe.
class CallWatch {
 public:
  CallWatch(absl::Duration interval, const Clock* clock);
  ~CallWatch();

  CallWatch(const CallWatch&) = delete;
  CallWatch& operator=(const CallWatch&) = delete;

  // Watches `call` for as long as somebody else holds it.
  void Add(std::weak_ptr<WatchedCall> call) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitForNextRound() ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<std::shared_ptr<WatchedCall>> Calls() ABSL_LOCKS_EXCLUDED(mutex_);

  const absl::Duration interval_;
  const Clock* const clock_;
  Mutex mutex_;
  CondVar stopped_;
  std::vector<std::weak_ptr<WatchedCall>> calls_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace denoise
