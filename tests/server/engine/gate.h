// Holds network calls or slices until a test releases them, so that the order of events is certain.
#pragma once

#include "core/base/mutex.h"

namespace denoise {

class Gate {
 public:
  void Pass() {
    const MutexLock lock(mutex_);
    reached_ = true;
    changed_.NotifyAll();
    while (closed_) changed_.Wait(mutex_);
  }
  void WaitUntilReached() {
    const MutexLock lock(mutex_);
    while (!reached_) changed_.Wait(mutex_);
  }
  void Open() {
    const MutexLock lock(mutex_);
    closed_ = false;
    changed_.NotifyAll();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool closed_ = true;
  bool reached_ = false;
};

}  // namespace denoise
