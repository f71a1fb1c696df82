#include "core/sampling/schedules/edm_schedule.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/sampling/schedules/schedule_validation.h"

namespace denoise {
namespace {

// timestep = this * log sigma
double TimestepScale(const EdmOptions& options) { return options.consistency_model ? 250 : 0.25; }

}  // namespace

absl::StatusOr<EdmSchedule> EdmSchedule::Create(const EdmOptions& options) {
  FieldViolations violations;
  CheckSigma(options.sigma_min, "sigma_min", violations);
  CheckSigma(options.sigma_max, "sigma_max", violations);
  if (options.sigma_max <= options.sigma_min) {
    violations.Add("sigma_max", absl::StrCat("must be above sigma_min, which is ",
                                             options.sigma_min, "; is ", options.sigma_max));
  }
  CheckSigma(options.sigma_data, "sigma_data", violations);
  CheckSigma(options.rho, "rho", violations);
  CheckTrainTimesteps(options.num_train_timesteps, "num_train_timesteps", violations);
  RETURN_IF_ERROR(violations.ToStatus());
  return EdmSchedule(options);
}

Preconditioning EdmSchedule::preconditioning() const {
  return {.sigma_data = options_.sigma_data,
          .boundary = options_.consistency_model ? options_.sigma_min : 0};
}

NoiseLevel EdmSchedule::LevelAt(double timestep) const {
  return {1, std::exp(timestep / TimestepScale(options_))};
}

double EdmSchedule::TimestepAt(double log_ratio) const {
  return TimestepScale(options_) * log_ratio;
}

}  // namespace denoise
