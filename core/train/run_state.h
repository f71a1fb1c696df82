// The part of a training snapshot that is not tensors, as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/train/optimizer.h"
#include "core/train/training_options.h"

namespace denoise {

// What identifies a run. A snapshot can only be restored into a run with the same identity.
struct RunIdentity {
  const TrainingOptions& options;
  int64_t pictures;  // in the data set
};

// What a run counts.
struct RunCounters {
  int64_t non_finite_steps = 0;
  int64_t non_finite_in_a_row = 0;
  LossScaler::State loss_scale;

  bool operator==(const RunCounters&) const = default;
};

std::string EncodeRunState(const RunIdentity& run, const RunCounters& counters);

// `json` may be anything. InvalidArgument: malformed; or, with field violations, written by a run
// with other options (max_steps may differ). An option that it lacks counts as the default.
absl::StatusOr<RunCounters> DecodeRunState(std::string_view json, const RunIdentity& run);

}  // namespace denoise
