// Notifies watchers that a job has new events. They read them from the store, each at its own pace.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "core/base/mutex.h"

namespace denoise {

// Thread-safe. Outlives its subscriptions.
class EventFeed {
 public:
  // Ends when it is destroyed; `wake` is then neither running nor called again.
  class Subscription {
   public:
    Subscription(EventFeed* feed, int64_t key) : feed_(feed), key_(key) {}
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

   private:
    EventFeed* const feed_;
    const int64_t key_;
  };

  // `wake` is called after every later change of the job, on the thread that wrote it, so it must
  // neither block nor call the feed. Subscribe before reading, so as not to miss an event.
  std::unique_ptr<Subscription> Subscribe(int64_t job, std::function<void()> wake)
      ABSL_LOCKS_EXCLUDED(mutex_);

  void Notify(int64_t job) ABSL_LOCKS_EXCLUDED(mutex_);
  void NotifyAll() ABSL_LOCKS_EXCLUDED(mutex_);  // when the server stops

 private:
  struct Watcher {
    int64_t job;
    std::function<void()> wake;
  };

  Mutex mutex_;
  int64_t next_key_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, Watcher> watchers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
