#include "core/sampling/options/sampler_validation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/sampling/schedules/schedule_validation.h"

namespace denoise {
namespace {

class Checker {
 public:
  explicit Checker(FieldViolations& violations) : violations_(violations) {}

  void Require(bool holds, std::string_view field, const std::string& requirement) {
    if (!holds) violations_.Add(field, requirement);
  }

  // Includes the bounds. NaN is in no range.
  template <typename Number>
  void RequireBetween(Number value, Number min, Number max, std::string_view field) {
    Require(value >= min && value <= max, field,
            absl::StrCat("must be between ", min, " and ", max, ", is ", value));
  }

  void RequirePositive(double value, std::string_view field) {
    Require(std::isfinite(value) && value > 0, field,
            absl::StrCat("must be a finite number above 0, is ", value));
  }

 private:
  FieldViolations& violations_;
};

void CheckClip(const SamplerOptions& options, Checker& check) {
  check.RequirePositive(options.clip_sample_range, "clip_sample_range");
  const double ratio = options.dynamic_thresholding_ratio;
  check.Require(ratio > 0 && ratio <= 1, "dynamic_thresholding_ratio",
                absl::StrCat("must be above 0 and at most 1, is ", ratio));
  check.Require(
      std::isfinite(options.sample_max_value) && options.sample_max_value >= 1, "sample_max_value",
      absl::StrCat("must be a finite number of at least 1, is ", options.sample_max_value));
}

void CheckSolver(const SamplerOptions& options, Checker& check) {
  const bool unipc = options.sampler == SamplerKind::kUniPc;
  check.RequireBetween(options.solver_order, 1, 3, "solver_order");
  if (options.solver_type.has_value() && SamplerReads(options.sampler, "solver_type")) {
    check.Require(IsUniPcType(*options.solver_type) == unipc, "solver_type",
                  unipc ? "must be bh1 or bh2 for this sampler"
                        : "must be midpoint or heun for this sampler");
  }
  if (unipc && options.solver_order > 1 && options.final_sigma == FinalSigma::kZero) {
    check.Require(
        options.lower_order_final, "lower_order_final",
        "must be true if the last step ends without noise, since no step of order 2 or 3 can do "
        "that; or choose final_sigma sigma_min");
  }
  if (options.sigma_spacing == SigmaSpacing::kFlow) {
    check.Require(options.final_sigma == FinalSigma::kZero, "final_sigma",
                  "must be zero with sigma_spacing flow");
  }
}

void CheckSigmaRange(const SamplerOptions& options, Checker& check) {
  for (const auto& [value, field] :
       {std::pair(options.sigma_min, "sigma_min"), std::pair(options.sigma_max, "sigma_max")}) {
    if (value.has_value()) check.RequireBetween(*value, kLeastSigma, kGreatestSigma, field);
  }
  if (options.rho.has_value()) check.RequireBetween(*options.rho, 0.1, 100.0, "rho");
}

void CheckNoise(const SamplerOptions& options, Checker& check) {
  constexpr double kMost = std::numeric_limits<float>::max();
  check.RequireBetween(options.s_churn, 0.0, kMost, "s_churn");
  check.RequireBetween(options.s_tmin, 0.0, kMost, "s_tmin");
  check.RequireBetween(options.s_tmax, 0.0, std::numeric_limits<double>::infinity(), "s_tmax");
  check.RequireBetween(options.s_noise, 0.0, kGreatestSigma, "s_noise");
  check.RequireBetween(options.noise_temperature, 0.0, kGreatestSigma, "noise_temperature");
  const bool from_network =
      options.sampler == SamplerKind::kDdpm && options.variance_type == VarianceType::kLearned;
  check.Require(!from_network || options.noise_temperature == 1, "noise_temperature",
                "must be 1 with variance_type learned, where the network decides how much noise "
                "there is");
}

void CheckSteps(const SamplerOptions& options, const Schedule& schedule, Checker& check) {
  int most = schedule.num_train_timesteps();
  if (SamplerReads(options.sampler, "original_inference_steps")) {
    check.RequireBetween(options.original_inference_steps, 1, most, "original_inference_steps");
    most = std::min(most, options.original_inference_steps);
  }
  check.RequireBetween(options.steps, 1, most, "steps");
}

// A list has at most as many numbers as there are training timesteps.
bool CheckLength(const std::vector<double>& list, const Schedule& schedule, std::string_view field,
                 Checker& check) {
  const size_t most = static_cast<size_t>(schedule.num_train_timesteps());
  check.Require(list.size() <= most, field,
                absl::StrCat("must list at most ", most, " numbers, lists ", list.size()));
  return list.size() <= most;
}

// Timesteps fall towards the image, but rise on a flow with invert_sigmas.
void CheckTimesteps(const std::vector<double>& timesteps, const Schedule& schedule,
                    Checker& check) {
  if (!CheckLength(timesteps, schedule, "timesteps", check)) return;
  const double min = schedule.timestep_min(), max = schedule.timestep_max();
  double lambda_before = std::numeric_limits<double>::quiet_NaN();  // nothing is at most that
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const std::string field = absl::StrCat("timesteps[", i, "]");
    check.RequireBetween(timesteps[i], min, max, field);
    const bool in_range = timesteps[i] >= min && timesteps[i] <= max;
    const double lambda = in_range ? schedule.LevelAt(timesteps[i]).lambda() : lambda_before;
    check.Require(!in_range || !(lambda <= lambda_before), field,
                  "must be less noisy than the one before");
    lambda_before = lambda;
  }
}

// The layout of the path checks which sigmas a schedule has.
void CheckSigmas(const SamplerOptions& options, const Schedule& schedule, Checker& check) {
  const std::vector<double>& sigmas = options.sigmas;
  if (!SamplerReads(options.sampler, "sigmas")) {
    check.Require(false, "sigmas", "are not for this sampler, which goes by timesteps");
    return;
  }
  check.Require(options.timesteps.empty(), "sigmas", "cannot be given together with timesteps");
  check.Require(options.sigma_spacing != SigmaSpacing::kFlow, "sigmas",
                "do not go with sigma_spacing flow: they are of x / alpha");
  if (!CheckLength(sigmas, schedule, "sigmas", check)) return;
  for (size_t i = 0; i < sigmas.size(); ++i) {
    const std::string field = absl::StrCat("sigmas[", i, "]");
    check.RequirePositive(sigmas[i], field);
    check.Require(i == 0 || !(sigmas[i] >= sigmas[i - 1]), field, "must be below the one before");
  }
}

}  // namespace

FieldViolations ValidateSamplerOptions(const SamplerOptions& options) {
  FieldViolations violations;
  Checker check(violations);
  CheckClip(options, check);
  check.Require(options.steps_offset >= 0, "steps_offset",
                absl::StrCat("must be at least 0, is ", options.steps_offset));
  check.RequireBetween(options.eta, 0.0, 1.0, "eta");
  check.RequirePositive(options.timestep_scaling, "timestep_scaling");
  check.RequirePositive(options.flow_shift, "flow_shift");
  check.Require(options.lambda_min_clipped < std::numeric_limits<double>::infinity(),
                "lambda_min_clipped",
                absl::StrCat("must be a number or -inf, is ", options.lambda_min_clipped));
  for (int step : options.disable_corrector) {
    check.Require(step >= 0, "disable_corrector",
                  absl::StrCat("must list steps from 0 on, lists ", step));
  }
  CheckSigmaRange(options, check);
  CheckNoise(options, check);
  if (SamplerReads(options.sampler, "solver_order")) CheckSolver(options, check);
  check.Require(options.timestep_type == TimestepType::kDiscrete ||
                    SamplerReads(options.sampler, "timestep_type"),
                "sampler", "does not suit this model, whose network takes 0.25 log sigma");
  return violations;
}

FieldViolations ValidateTimesteps(const SamplerOptions& options, const Schedule& schedule) {
  FieldViolations violations;
  Checker check(violations);
  if (!options.sigmas.empty()) {
    CheckSigmas(options, schedule, check);
  } else if (!options.timesteps.empty()) {
    CheckTimesteps(options.timesteps, schedule, check);
  } else {
    CheckSteps(options, schedule, check);
  }
  return violations;
}

}  // namespace denoise
