// How much memory calls may take for results that their readers have not taken yet.
//
// Each call reserves its worst case before it is submitted, and keeps that until it is over: a
// reader who takes nothing holds what was reserved and never more. Without this, memory would grow
// with every call whose work is done and whose images wait.
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "core/base/mutex.h"
#include "core/nn/network.h"

namespace denoise {

// What every call takes beside its samples.
inline constexpr int64_t kCallBytes = 64 << 10;

// What one sample takes, as float32.
int64_t SampleBytes(const SampleShape& shape);

// Thread-safe. Outlives its reservations.
class SampleBudget {
 public:
  // Gives back what it holds when it is destroyed. Holds nothing by default.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept;
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation();

   private:
    friend class SampleBudget;
    Reservation(SampleBudget* budget, int64_t bytes) : budget_(budget), bytes_(bytes) {}

    SampleBudget* budget_ = nullptr;
    int64_t bytes_ = 0;
  };

  explicit SampleBudget(int64_t bytes_max) : bytes_max_(bytes_max) {}

  // Unavailable, with a delay, when the others leave no room. A call that is alone always gets what
  // it asks for, or one that exceeds the budget by itself could never be served.
  absl::StatusOr<Reservation> Reserve(int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Release(int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  const int64_t bytes_max_;
  Mutex mutex_;
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace denoise
