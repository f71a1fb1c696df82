// How often something may happen: at once up to a burst, and in the long run at a rate.
#pragma once

#include "absl/time/time.h"

namespace denoise {

// Not thread-safe.
class TokenBucket {
 public:
  struct Rate {
    double burst;
    double per_second;
  };

  TokenBucket(Rate rate, absl::Time now) : rate_(rate), tokens_(rate.burst), updated_(now) {}

  // Takes a token. False if there is none.
  bool Take(absl::Time now);

  const Rate& rate() const { return rate_; }

  // Whether it is as full as in the beginning, so that it need not be kept.
  bool IsFull(absl::Time now) const;

 private:
  double TokensAt(absl::Time now) const;

  const Rate rate_;
  double tokens_;
  absl::Time updated_;
};

}  // namespace denoise
