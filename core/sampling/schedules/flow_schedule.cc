#include "core/sampling/schedules/flow_schedule.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/sampling/schedules/schedule_validation.h"

namespace denoise {

namespace {

// mu at image_seq_len.
double Mu(const FlowOptions& options) {
  const double base = options.base_image_seq_len;
  const double slope =
      (options.max_shift - options.base_shift) / (options.max_image_seq_len - base);
  return options.base_shift + slope * (static_cast<double>(options.image_seq_len) - base);
}

}  // namespace

double ShiftOf(const FlowOptions& options) {
  if (!options.use_dynamic_shifting) return options.shift;
  return options.time_shift_type == TimeShiftType::kExponential ? std::exp(Mu(options))
                                                                : Mu(options);
}

double Shifted(double sigma, double shift) { return shift * sigma / (1 + (shift - 1) * sigma); }

absl::StatusOr<FlowSchedule> FlowSchedule::Create(const FlowOptions& options) {
  FieldViolations violations;
  CheckTrainTimesteps(options.num_train_timesteps, "num_train_timesteps", violations);
  CheckSigma(ShiftOf(options), options.use_dynamic_shifting ? "max_shift" : "shift", violations);
  const double terminal = options.shift_terminal.value_or(0);
  if (!(terminal >= 0 && terminal < 1)) {
    violations.Add("shift_terminal", absl::StrCat("must be at least 0 and below 1, is ", terminal));
  }
  RETURN_IF_ERROR(violations.ToStatus());
  return FlowSchedule(options);
}

NoiseLevel FlowSchedule::LevelAt(double timestep) const {
  const double fraction = timestep / num_train_timesteps();
  const double sigma = options_.invert_sigmas ? 1 - fraction : fraction;
  return {1 - sigma, sigma};
}

double FlowSchedule::TimestepOfSigma(double sigma) const {
  return num_train_timesteps() * (options_.invert_sigmas ? 1 - sigma : sigma);
}

double FlowSchedule::TimestepAt(double log_ratio) const {
  return TimestepOfSigma(1 / (1 + std::exp(-log_ratio)));
}

}  // namespace denoise
