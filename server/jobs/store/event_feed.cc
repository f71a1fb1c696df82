#include "server/jobs/store/event_feed.h"

#include <utility>

namespace denoise {

EventFeed::Subscription::~Subscription() {
  const MutexLock lock(feed_->mutex_);
  feed_->watchers_.erase(key_);
}

std::unique_ptr<EventFeed::Subscription> EventFeed::Subscribe(int64_t job,
                                                              std::function<void()> wake) {
  const MutexLock lock(mutex_);
  const int64_t key = next_key_++;
  watchers_[key] = {job, std::move(wake)};
  return std::make_unique<Subscription>(this, key);
}

// Calls under the lock, so that none runs once its subscription has ended.
void EventFeed::Notify(int64_t job) {
  const MutexLock lock(mutex_);
  for (const auto& [key, watcher] : watchers_) {
    if (watcher.job == job) watcher.wake();
  }
}

void EventFeed::NotifyAll() {
  const MutexLock lock(mutex_);
  for (const auto& [key, watcher] : watchers_) watcher.wake();
}

}  // namespace denoise
