// Divides a device's time between slices of tasks and evaluations while both are wanted.
#pragma once

#include "absl/time/time.h"

namespace denoise {

// A running account: after a slice of duration s, evaluations get at least
// s * (1 - slice_share) / slice_share before the next slice is due, and at least one. Time beyond
// that is not saved up. A slice that continues the one before it counts as part of it. Not
// thread-safe.
class TimeShare {
 public:
  enum class Activity { kEvaluation, kSlice };

  explicit TimeShare(double slice_share);  // in [0, 1); 0: no slice is ever due

  // Begins an activity, and ends the one before it unless End has done so. `continues`: a slice
  // that continues the one before it.
  void Begin(Activity activity, absl::Time now, bool continues = false);
  void End(absl::Time now);

  // Whether a slice may run while evaluations are wanted.
  bool SliceIsDue() const { return owed_ <= absl::ZeroDuration(); }

 private:
  double evaluation_per_slice_;  // seconds of evaluations to a second of slices
  absl::Duration owed_;          // to evaluations, before the next slice
  bool open_ = false;
  Activity activity_ = Activity::kEvaluation;
  bool continues_ = false;
  absl::Time began_;
};

}  // namespace denoise
