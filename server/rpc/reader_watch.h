// Ends the calls of readers who take nothing: a connection that answers pings, but on which nobody
// reads, would keep its call, and the images of it, for ever.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"

namespace denoise {

// What is watched of a call. Thread-safe.
class WatchedReader {
 public:
  virtual ~WatchedReader() = default;

  // Breaks the call off where its reader has taken longer than allowed over the event on its way.
  virtual void CheckReader() = 0;
};

// Has one thread, which asks every reader now and then. Thread-safe.
class ReaderWatch {
 public:
  explicit ReaderWatch(absl::Duration interval);
  ~ReaderWatch();

  ReaderWatch(const ReaderWatch&) = delete;
  ReaderWatch& operator=(const ReaderWatch&) = delete;

  // Watches `reader` for as long as somebody else holds it.
  void Add(std::weak_ptr<WatchedReader> reader) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitForNextRound() ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<std::shared_ptr<WatchedReader>> Readers() ABSL_LOCKS_EXCLUDED(mutex_);

  const absl::Duration interval_;
  Mutex mutex_;
  CondVar stopped_;
  std::vector<std::weak_ptr<WatchedReader>> readers_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace denoise
