// What the families of noise schedules check alike. Internal to core/sampling.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/base/field_violations.h"

namespace denoise {

// More training timesteps than anybody uses, and few enough to be computed in no time.
inline constexpr int kMaxTrainTimesteps = 100000;

// What float32 coefficients made of a sigma, or of a number as good as one, can hold.
inline constexpr double kLeastSigma = 1e-6;
inline constexpr double kGreatestSigma = 1e6;

void CheckTrainTimesteps(int64_t timesteps, std::string_view field, FieldViolations& violations);

// Between the two.
void CheckSigma(double value, std::string_view field, FieldViolations& violations);

}  // namespace denoise
