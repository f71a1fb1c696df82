#include "core/sampling/schedules/schedule_validation.h"

#include "absl/strings/str_cat.h"

namespace denoise {

void CheckTrainTimesteps(int64_t timesteps, std::string_view field, FieldViolations& violations) {
  if (timesteps < 1 || timesteps > kMaxTrainTimesteps) {
    violations.Add(field, absl::StrCat("must give between 1 and ", kMaxTrainTimesteps,
                                       " training timesteps, gives ", timesteps));
  }
}

void CheckSigma(double value, std::string_view field, FieldViolations& violations) {
  if (!(value >= kLeastSigma && value <= kGreatestSigma)) {
    violations.Add(field, absl::StrCat("must be between ", kLeastSigma, " and ", kGreatestSigma,
                                       ", is ", value));
  }
}

}  // namespace denoise
