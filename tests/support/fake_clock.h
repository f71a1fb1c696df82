// A clock that only moves when a test moves it.
#pragma once

#include <atomic>

#include "core/base/clock.h"

namespace denoise {

class FakeClock : public Clock {
 public:
  absl::Time Now() const override {
    return absl::UnixEpoch() + absl::Nanoseconds(nanoseconds_.load());
  }
  void Advance(absl::Duration duration) { nanoseconds_ += absl::ToInt64Nanoseconds(duration); }

 private:
  std::atomic<int64_t> nanoseconds_ = 1'000'000'000;
};

}  // namespace denoise
