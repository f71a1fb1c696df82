// Checks shared by the families of noise schedules. Internal to core/sampling.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"

namespace denoise {

// More training timesteps than anybody uses, yet few enough to compute instantly.
inline constexpr int kMaxTrainTimesteps = 100000;

// The range of a sigma, or of a similar number, whose coefficients still fit in float32.
inline constexpr double kLeastSigma = 1e-6;
inline constexpr double kGreatestSigma = 1e6;

inline void CheckTrainTimesteps(int64_t timesteps, std::string_view field,
                                FieldViolations& violations) {
  if (timesteps < 1 || timesteps > kMaxTrainTimesteps) {
    violations.Add(field, absl::StrCat("must give between 1 and ", kMaxTrainTimesteps,
                                       " training timesteps, gives ", timesteps));
  }
}

// Adds a violation unless `value` is between these two.
inline void CheckSigma(double value, std::string_view field, FieldViolations& violations) {
  if (!(value >= kLeastSigma && value <= kGreatestSigma)) {
    violations.Add(field, absl::StrCat("must be between ", kLeastSigma, " and ", kGreatestSigma,
                                       ", is ", value));
  }
}

}  // namespace denoise
