#include "core/sampling/flow_schedule.h"

#include <cmath>

#include "core/base/status_macros.h"
#include "core/sampling/schedule_validation.h"

namespace denoise {

absl::StatusOr<FlowSchedule> FlowSchedule::Create(const FlowOptions& options) {
  FieldViolations violations;
  CheckTrainTimesteps(options.num_train_timesteps, "num_train_timesteps", violations);
  RETURN_IF_ERROR(violations.ToStatus());
  return FlowSchedule(options);
}

NoiseLevel FlowSchedule::LevelAt(double timestep) const {
  const double sigma = timestep / num_train_timesteps();
  return {1 - sigma, sigma};
}

double FlowSchedule::TimestepAt(double log_ratio) const {
  return num_train_timesteps() / (1 + std::exp(-log_ratio));
}

}  // namespace denoise
