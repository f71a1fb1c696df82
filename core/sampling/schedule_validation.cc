#include "core/sampling/schedule_validation.h"

#include "absl/strings/str_cat.h"

namespace denoise {

void CheckTrainTimesteps(int64_t timesteps, std::string_view field, FieldViolations& violations) {
  if (timesteps < 1 || timesteps > kMaxTrainTimesteps) {
    violations.Add(field, absl::StrCat("must give between 1 and ", kMaxTrainTimesteps,
                                       " training timesteps, gives ", timesteps));
  }
}

void CheckPositive(double value, std::string_view field, FieldViolations& violations) {
  constexpr double kLeast = 1e-6, kMost = 1e6;
  if (!(value >= kLeast && value <= kMost)) {
    violations.Add(field, absl::StrCat("must be between ", kLeast, " and ", kMost, ", is ", value));
  }
}

}  // namespace denoise
