// Time as a parameter, so that tests can replace it.
#pragma once

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace denoise {

// Thread-safe. A test's clock must outlive everything it was given to.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;

  // The system's clock, which is never destroyed before its users.
  static const Clock& Real();
};

inline const Clock& Clock::Real() {
  class RealClock : public Clock {
   public:
    absl::Time Now() const override { return absl::Now(); }
  };
  static const RealClock clock;
  return clock;
}

}  // namespace denoise
