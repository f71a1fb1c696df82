// Time as a parameter, so that tests replace it.
#pragma once

#include "absl/time/time.h"

namespace denoise {

// Thread-safe. The real clock never goes away; a test's clock outlives whatever it was given to.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;

  // The system's clock.
  static const Clock& Real();
};

}  // namespace denoise
