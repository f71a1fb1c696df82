// What the families of noise schedules check alike. Internal to core/sampling.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/base/field_violations.h"

namespace denoise {

// More training timesteps than anybody uses, and few enough to be computed in no time.
inline constexpr int kMaxTrainTimesteps = 100000;

void CheckTrainTimesteps(int64_t timesteps, std::string_view field, FieldViolations& violations);

// Above 0, and within what float32 coefficients made of it can hold: [1e-6, 1e6].
void CheckPositive(double value, std::string_view field, FieldViolations& violations);

}  // namespace denoise
