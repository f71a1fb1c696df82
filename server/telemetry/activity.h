// What the server is doing right now, for those who watch it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "denoised/v1/activity.pb.h"
#include "server/engine/engine.h"

namespace denoise {

// The quantiles of the latest durations. Not thread-safe.
class RecentDurations {
 public:
  static constexpr size_t kMax = 1024;
  static constexpr absl::Duration kKept = absl::Minutes(5);

  void Add(absl::Duration duration, absl::Time now);
  // Forgets those that are older than kKept. Returns whether there were any.
  bool ForgetOld(absl::Time now);
  // When the oldest will be forgotten; infinite where there is none.
  absl::Time next_expiry() const;
  // Without durations, a message without quantiles.
  const denoised::v1::Latency& quantiles();

 private:
  std::deque<std::pair<absl::Time, absl::Duration>> durations_;  // oldest first
  denoised::v1::Latency quantiles_;
  bool changed_ = false;  // since the quantiles were computed
};

// Thread-safe. What reports to it costs the reporting thread a few microseconds; watchers are woken
// by a thread of its own. Outlives its watchers.
class Activity {
 public:
  // Reads snapshots. Used by one thread at a time.
  class Watcher {
   public:
    ~Watcher();
    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;

    // What is new. Null where nothing is or the last snapshot is younger than the interval: then
    // `wake` is called once there is one. Watchers share snapshots; `complete` adds what the
    // activity does not know to a new one.
    using Complete = std::function<void(denoised::v1::ActivitySnapshot&)>;
    std::shared_ptr<const denoised::v1::ActivitySnapshot> Next(const Complete& complete);

   private:
    friend class Activity;
    Watcher(Activity* activity, absl::Duration interval, std::function<void()> wake);

    Activity* const activity_;
    const absl::Duration interval_;
    const std::function<void()> wake_;
    bool MayRead(absl::Time now) const;

    // Guarded by the activity's mutex.
    int64_t seen_ = -1;                       // its last version
    absl::Time read_ = absl::InfinitePast();  // when it read that
    bool waits_ = false;
  };

  // `devices` by name. `clock` outlives it.
  Activity(const std::vector<std::string>& devices, const Clock& clock);
  ~Activity();

  // `wake` must neither block nor call the activity.
  std::unique_ptr<Watcher> Watch(absl::Duration interval, std::function<void()> wake)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Has every watcher ask for the next snapshot, whether there is one or not.
  void WakeAll() ABSL_LOCKS_EXCLUDED(mutex_);

  // What happens. `device` is one of the constructor's.
  void TurnBegan(const std::string& device, const TurnReport& turn) ABSL_LOCKS_EXCLUDED(mutex_);
  void Evaluated(const std::string& device, int rows) ABSL_LOCKS_EXCLUDED(mutex_);
  void QueueChanged() ABSL_LOCKS_EXCLUDED(mutex_);
  void ImageGenerated() ABSL_LOCKS_EXCLUDED(mutex_);
  void QueueWaited(absl::Duration wait) ABSL_LOCKS_EXCLUDED(mutex_);
  void FirstFrameSent(absl::Duration since_request) ABSL_LOCKS_EXCLUDED(mutex_);
  void RequestSucceeded(absl::Duration elapsed) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  denoised::v1::DeviceActivity& Device(const std::string& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  denoised::v1::ActivitySnapshot Snapshot(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetOldDurations(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WakeLoop() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Time WakeDue(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock& clock_;
  std::map<std::string, int> device_indices_;  // constant after construction

  Mutex mutex_;
  CondVar changed_;
  denoised::v1::ActivitySnapshot state_ ABSL_GUARDED_BY(mutex_);  // without time and latencies
  RecentDurations queue_waits_ ABSL_GUARDED_BY(mutex_);
  RecentDurations first_frames_ ABSL_GUARDED_BY(mutex_);
  RecentDurations requests_ ABSL_GUARDED_BY(mutex_);
  int64_t version_ ABSL_GUARDED_BY(mutex_) = 0;  // counts changes
  std::shared_ptr<const denoised::v1::ActivitySnapshot> latest_ ABSL_GUARDED_BY(mutex_);
  int64_t latest_version_ ABSL_GUARDED_BY(mutex_) = -1;
  std::set<Watcher*> watchers_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread waker_;
};

}  // namespace denoise
