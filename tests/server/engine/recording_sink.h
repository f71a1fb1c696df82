// A sink that remembers what it heard.
#pragma once

#include <optional>
#include <vector>

#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "server/engine/generation.h"

namespace denoise {

class RecordingSink : public GenerationSink {
 public:
  void OnQueued(const QueuePlace& place) override {
    const MutexLock lock(mutex_);
    positions_.push_back(place.position);
  }
  void OnStarted(absl::Duration) override {
    const MutexLock lock(mutex_);
    started_ = true;
    changed_.NotifyAll();
  }
  void OnStep(int, int) override {
    const MutexLock lock(mutex_);
    ++steps_;
    changed_.NotifyAll();
  }
  void OnFrame(FrameUpdate frame) override {
    const MutexLock lock(mutex_);
    frames_.push_back(std::move(frame));
  }
  void OnImage(ImageUpdate image) override {
    const MutexLock lock(mutex_);
    images_.push_back(std::move(image));
  }
  void OnFinished(const absl::Status& status) override {
    const MutexLock lock(mutex_);
    ++finishes_;
    status_ = status;
    changed_.NotifyAll();
  }

  // Waits, up to a minute, and returns how it ended; UNKNOWN if it has not.
  absl::Status WaitUntilFinished() {
    const absl::Time deadline = Clock::Real().Now() + absl::Minutes(1);
    const MutexLock lock(mutex_);
    while (!status_ && !changed_.WaitUntil(mutex_, deadline)) {
    }
    return status_.value_or(absl::UnknownError("not finished"));
  }

  bool finished() const { return Get(status_).has_value(); }
  std::optional<absl::Status> status() const { return Get(status_); }
  bool started() const { return Get(started_); }
  int steps() const { return Get(steps_); }
  int finishes() const { return Get(finishes_); }
  std::vector<int> positions() const { return Get(positions_); }
  std::vector<FrameUpdate> frames() const { return Get(frames_); }
  std::vector<ImageUpdate> images() const { return Get(images_); }

 private:
  template <typename T>
  T Get(const T& field) const {
    const MutexLock lock(mutex_);
    return field;
  }

  mutable Mutex mutex_;
  CondVar changed_;
  bool started_ = false;
  int steps_ = 0;
  int finishes_ = 0;
  std::optional<absl::Status> status_;
  std::vector<int> positions_;
  std::vector<FrameUpdate> frames_;
  std::vector<ImageUpdate> images_;
};

}  // namespace denoise
