// How much memory the weights of all models may take on each device.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"

namespace denoise {

// Counts what loaded models take until the last holder of each has let go of it. Thread-safe, and
// alive until its last reservation is gone.
class ModelMemory : public std::enable_shared_from_this<ModelMemory> {
 public:
  // Gives its bytes back when it is destroyed.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept
        : memory_(std::move(other.memory_)), bytes_(other.bytes_) {}
    Reservation& operator=(Reservation&& other) noexcept {
      std::swap(memory_, other.memory_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Reservation();

   private:
    friend class ModelMemory;
    Reservation(std::shared_ptr<ModelMemory> memory, int64_t bytes)
        : memory_(std::move(memory)), bytes_(bytes) {}

    std::shared_ptr<ModelMemory> memory_;
    int64_t bytes_ = 0;
  };

  // 0: no limit. `on_change`, which may be null, hears of each change, in order; it must neither
  // block nor call the memory.
  using Listener = std::function<void(int64_t bytes)>;
  static std::shared_ptr<ModelMemory> Create(int64_t bytes_max, Listener on_change = nullptr);

  // Whether there could ever be room for as much.
  bool Holds(int64_t bytes) const { return bytes_max_ == 0 || bytes <= bytes_max_; }

  // What is left.
  int64_t free_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

  // nullopt while there is no room.
  std::optional<Reservation> TryReserve(int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  // How many reservations have ended so far.
  int64_t releases() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until there have been more than `seen`, until `deadline` or Stop.
  void WaitForRelease(int64_t seen, const Clock& clock, absl::Time deadline)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends all waits, now and later.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  ModelMemory(int64_t bytes_max, Listener on_change)
      : bytes_max_(bytes_max), on_change_(std::move(on_change)) {}

  void Add(int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t bytes_max_;
  const Listener on_change_;
  mutable Mutex mutex_;
  CondVar changed_;
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t releases_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
