// A few threads for what takes a while: they turn samples into pictures and pictures into samples,
// wait for the disk and hand events to gRPC, so that neither the engine's threads nor gRPC's do.
//
// Its queue is bounded by its users: a call has at most one task in the pool at a time.
// SampleBudget bounds the calls that make pictures, --max-concurrent-streams those of each
// connection.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "core/base/mutex.h"

namespace denoise {

// Thread-safe.
class WorkPool {
 public:
  explicit WorkPool(int threads);
  ~WorkPool();  // runs what is queued, then joins

  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  // Runs `task` soon, in order of arrival. What it throws is logged, and ends nothing but it.
  void Schedule(std::function<void()> task) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace denoise
