#include "server/scheduling/time_share.h"

#include <algorithm>

namespace denoise {
namespace {

// The least that an activity counts for: the clock may be coarse or set back.
constexpr absl::Duration kTick = absl::Nanoseconds(1);

}  // namespace

TimeShare::TimeShare(double slice_share)
    : evaluation_per_slice_((1 - slice_share) / slice_share),
      owed_(slice_share > 0 ? absl::ZeroDuration() : absl::InfiniteDuration()) {}

void TimeShare::Begin(Activity activity, absl::Time now, bool continues) {
  End(now);
  open_ = true;
  activity_ = activity;
  continues_ = continues;
  began_ = now;
}

void TimeShare::End(absl::Time now) {
  if (!open_) return;
  open_ = false;
  const absl::Duration took = std::max(now - began_, kTick);
  if (activity_ == Activity::kSlice) {
    const absl::Duration owed_before = continues_ ? owed_ : absl::ZeroDuration();
    owed_ = owed_before + std::max(took * evaluation_per_slice_, kTick);
  } else {
    owed_ = std::max(owed_ - took, absl::ZeroDuration());
  }
}

}  // namespace denoise
