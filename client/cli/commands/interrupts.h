// Ctrl-C as a function call.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "core/base/mutex.h"

namespace denoise {

// While one exists, SIGINT and SIGTERM go to a thread of its own instead of ending the process. The
// first calls the handler, or ends the process with exit code 130 if there is none; any later one
// ends the process at once. Create it before any other thread starts, because threads inherit the
// signal mask. At most one at a time.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // `handler` runs on the signal thread. An empty one removes the handler; once this returns, the
  // old one is not running. Thread-safe.
  void SetHandler(std::function<void()> handler);

  // Whether a signal has arrived. Thread-safe.
  bool interrupted() const { return interrupted_; }

 private:
  void Wait();

  std::atomic<bool> interrupted_ = false;
  std::atomic<bool> stopping_ = false;
  Mutex mutex_;
  std::function<void()> handler_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace denoise
