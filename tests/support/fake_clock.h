// A clock that only moves when a test moves it.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <list>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "core/base/clock.h"

namespace denoise {

// Thread-safe.
class FakeClock : public Clock {
 public:
  absl::Time Now() const override {
    return absl::UnixEpoch() + absl::Nanoseconds(nanoseconds_.load());
  }

  void WaitUntil(CondVar& condition, Mutex& mutex,
                 absl::Time deadline) const override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const auto waiter = Register(condition, mutex, deadline);
    if (waiter->deadline > Now()) condition.Wait(mutex);
    mutex.Unlock();  // Advance may need it before it lets go of the waiter
    Unregister(waiter);
    mutex.Lock();
  }

  // Wakes the threads whose deadline has come. The caller holds none of their mutexes.
  void Advance(absl::Duration duration) {
    std::vector<Waiter*> due;
    {
      const MutexLock lock(mutex_);
      nanoseconds_ += absl::ToInt64Nanoseconds(duration);
      for (Waiter& waiter : waiters_) {
        if (waiter.deadline > Now()) continue;
        ++waiter.wakers;
        due.push_back(&waiter);
      }
    }
    for (const Waiter* waiter : due) Wake(*waiter);
    const MutexLock lock(mutex_);
    for (Waiter* waiter : due) --waiter->wakers;
    changed_.NotifyAll();
  }

  // Advances by `step` each millisecond until `future` is ready.
  template <class Result>
  void AdvanceUntilReady(const std::future<Result>& future, absl::Duration step) {
    while (future.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
      Advance(step);
    }
  }

  // Returns once some thread waits for a time that is still to come.
  void AwaitDeadline() const {
    const MutexLock lock(mutex_);
    while (!std::any_of(waiters_.begin(), waiters_.end(), [this](const Waiter& waiter) {
      return waiter.deadline > Now() && waiter.deadline < absl::InfiniteFuture();
    })) {
      changed_.Wait(mutex_);
    }
  }

 private:
  struct Waiter {
    CondVar* condition;
    Mutex* mutex;
    absl::Time deadline;
    int wakers = 0;  // calls of Advance that are about to wake it
  };
  using Waiters = std::list<Waiter>;

  Waiters::iterator Register(CondVar& condition, Mutex& mutex, absl::Time deadline) const {
    const MutexLock lock(mutex_);
    changed_.NotifyAll();
    return waiters_.insert(waiters_.end(), {&condition, &mutex, deadline});
  }

  void Unregister(Waiters::iterator waiter) const {
    const MutexLock lock(mutex_);
    while (waiter->wakers > 0) changed_.Wait(mutex_);
    waiters_.erase(waiter);
  }

  // Whoever holds the waiter's mutex knows that it waits, and does not miss the notification.
  static void Wake(const Waiter& waiter) {
    { const MutexLock lock(*waiter.mutex); }
    waiter.condition->NotifyAll();
  }

  std::atomic<int64_t> nanoseconds_ = 1'000'000'000;

  mutable Mutex mutex_;
  mutable CondVar changed_;
  mutable Waiters waiters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
