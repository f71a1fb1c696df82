#include "core/base/clock.h"

#include "absl/time/clock.h"

namespace denoise {
namespace {

class RealClock : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
  void WaitUntil(CondVar& condition, Mutex& mutex, absl::Time deadline) const override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    condition.WaitUntil(mutex, deadline);
  }
};

}  // namespace

const Clock& Clock::Real() {
  static const RealClock clock;
  return clock;
}

}  // namespace denoise
