// Waits for a generation to end, and for what it hands over, without a thread of its own.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "core/base/mutex.h"
#include "server/generations/generations.h"
#include "server/rpc/work_pool.h"

namespace denoise {

// Reads the generation's log as a stream does: on the pool, whenever there is something new.
// Thread-safe. Whoever may still wake it holds it.
class HandoverWait : public std::enable_shared_from_this<HandoverWait> {
 public:
  struct Outcome {
    std::unique_ptr<Generations::Reader> reader;
    std::optional<GenerationLog::Event> handover;  // none: the generation ended in another way
  };
  // INTERNAL if reading has failed. Called at most once, on the pool and without a lock, so it may
  // take its time.
  using OnOver = std::function<void(absl::StatusOr<Outcome>)>;

  HandoverWait(WorkPool* pool, OnOver on_over) : pool_(pool), on_over_(std::move(on_over)) {}

  // The log has something new. Does nothing before Begin and once the wait is over.
  void Wake();
  void Begin(std::unique_ptr<Generations::Reader> reader) ABSL_LOCKS_EXCLUDED(mutex_);
  // Leaves the generation. Returns false if `on_over` is being called or was called; it is not
  // called any more otherwise. Never waits for `on_over`.
  bool GiveUp() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Look() ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<absl::StatusOr<Outcome>> Read() ABSL_LOCKS_EXCLUDED(mutex_);

  WorkPool* const pool_;
  const OnOver on_over_;
  std::atomic<bool> scheduled_ = false;

  Mutex mutex_;
  std::unique_ptr<Generations::Reader> reader_ ABSL_GUARDED_BY(mutex_);  // while it waits
  std::optional<GenerationLog::Event> handover_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
