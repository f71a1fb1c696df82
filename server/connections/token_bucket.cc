#include "server/connections/token_bucket.h"

#include <algorithm>

namespace denoise {

bool TokenBucket::Take(absl::Time now) {
  tokens_ = TokensAt(now);
  updated_ = std::max(updated_, now);
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

bool TokenBucket::IsFull(absl::Time now) const { return TokensAt(now) >= rate_.burst; }

// A clock that is set back adds nothing.
double TokenBucket::TokensAt(absl::Time now) const {
  const double passed = std::max(0.0, absl::ToDoubleSeconds(now - updated_));
  return std::min(rate_.burst, tokens_ + passed * rate_.per_second);
}

}  // namespace denoise
