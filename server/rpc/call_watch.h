// Ends the calls whose other side stalls: a connection that answers pings, but on which nobody reads or
// sends, would keep its call, and the images of it, for ever.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"

namespace denoise {

// What is watched of a call. Thread-safe.
class WatchedCall {
 public:
  virtual ~WatchedCall() = default;

  // Breaks the call off where the other side has taken longer than allowed over a message.
  virtual void CancelIfStalled() = 0;
};

// Has one thread, which asks every call now and then. Thread-safe.
class CallWatch {
 public:
  explicit CallWatch(absl::Duration interval);
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
  Mutex mutex_;
  CondVar stopped_;
  std::vector<std::weak_ptr<WatchedCall>> calls_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace denoise
