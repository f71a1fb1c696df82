#include "core/sampling/sampler_validation.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/sampling/schedule_validation.h"

namespace denoise {
namespace {

class Checker {
 public:
  explicit Checker(FieldViolations& violations) : violations_(violations) {}

  void Require(bool holds, std::string_view field, const std::string& requirement) {
    if (!holds) violations_.Add(field, requirement);
  }

  // Bounds included. NaN is inside no range.
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

bool IsUniPcType(SolverType type) { return type == SolverType::kBh1 || type == SolverType::kBh2; }

void CheckPrediction(const SamplerOptions& options, Checker& check) {
  const bool flow_levels = SamplerReads(options.sampler, "sigma_spacing") &&
                           options.sigma_spacing == SigmaSpacing::kFlow;
  if (options.prediction_type == PredictionType::kFlowPrediction) {
    check.Require(flow_levels, "prediction_type",
                  "flow_prediction needs sigma_spacing flow, which only the solvers have");
  }
  if (options.prediction_type == PredictionType::kVPrediction) {
    check.Require(!flow_levels, "sigma_spacing",
                  "flow does not go with v_prediction, which needs variance-preserving levels");
  }
}

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
  const bool sde = options.sampler == SamplerKind::kSdeDpmSolverPlusPlus;
  check.RequireBetween(options.solver_order, 1, sde ? 2 : 3, "solver_order");
  if (options.solver_type.has_value()) {
    check.Require(IsUniPcType(*options.solver_type) == unipc, "solver_type",
                  unipc ? "must be bh1 or bh2 for this sampler"
                        : "must be midpoint or heun for this sampler");
  }
  if (unipc && options.solver_order > 1 && options.final_sigma == FinalSigma::kZero) {
    check.Require(
        options.lower_order_final, "lower_order_final",
        "must be true where the last step ends without noise, which no step of order 2 or "
        "3 can do; or choose final_sigma sigma_min");
  }
  if (options.sigma_spacing == SigmaSpacing::kFlow) {
    check.Require(options.final_sigma == FinalSigma::kZero, "final_sigma",
                  "must be zero with sigma_spacing flow");
  }
}

// The samplers in sigma.
void CheckSigma(const SamplerOptions& options, Checker& check) {
  check.Require(options.sigma_spacing != SigmaSpacing::kFlow, "sigma_spacing",
                "flow is not for this sampler, whose sigma is that of x / alpha");
}

void CheckSigmaRange(const SamplerOptions& options, Checker& check) {
  for (const auto& [value, field] :
       {std::pair(options.sigma_min, "sigma_min"), std::pair(options.sigma_max, "sigma_max"),
        std::pair(options.rho, "rho")}) {
    if (value.has_value()) check.RequireBetween(*value, kLeastSigma, kGreatestSigma, field);
  }
}

void CheckChurn(const SamplerOptions& options, Checker& check) {
  constexpr double kMost = std::numeric_limits<float>::max();
  check.RequireBetween(options.s_churn, 0.0, kMost, "s_churn");
  check.RequireBetween(options.s_tmin, 0.0, kMost, "s_tmin");
  check.RequireBetween(options.s_tmax, 0.0, std::numeric_limits<double>::infinity(), "s_tmax");
  check.RequireBetween(options.s_noise, 0.0, kMost, "s_noise");
}

}  // namespace

FieldViolations ValidateSamplerOptions(const SamplerOptions& options) {
  FieldViolations violations;
  Checker check(violations);
  CheckPrediction(options, check);
  CheckClip(options, check);
  check.Require(options.steps_offset >= 0, "steps_offset",
                absl::StrCat("must be at least 0, is ", options.steps_offset));
  check.RequireBetween(options.eta, 0.0, 1.0, "eta");
  check.RequirePositive(options.flow_shift, "flow_shift");
  check.Require(options.lambda_min_clipped < std::numeric_limits<double>::infinity(),
                "lambda_min_clipped",
                absl::StrCat("must be a number or -inf, is ", options.lambda_min_clipped));
  for (int step : options.disable_corrector) {
    check.Require(step >= 0, "disable_corrector",
                  absl::StrCat("must list steps from 0 on, lists ", step));
  }
  CheckSigmaRange(options, check);
  CheckChurn(options, check);
  if (SamplerReads(options.sampler, "solver_order")) {
    CheckSolver(options, check);
  } else if (SamplerReads(options.sampler, "sigma_spacing")) {
    CheckSigma(options, check);
  }
  return violations;
}

FieldViolations ValidateTimesteps(const SamplerOptions& options, const Schedule& schedule) {
  const int num_train_timesteps = schedule.num_train_timesteps();
  FieldViolations violations;
  Checker check(violations);
  const std::vector<double>& timesteps = options.timesteps;
  if (timesteps.empty()) {
    check.RequireBetween(options.steps, 1, num_train_timesteps, "steps");
  } else if (timesteps.size() > static_cast<size_t>(num_train_timesteps)) {
    violations.Add("timesteps", absl::StrCat("must list at most ", num_train_timesteps,
                                             " timesteps, lists ", timesteps.size()));
  } else {
    for (size_t i = 0; i < timesteps.size(); ++i) {
      const std::string field = absl::StrCat("timesteps[", i, "]");
      check.RequireBetween(timesteps[i], schedule.timestep_min(), schedule.timestep_max(), field);
      check.Require(i == 0 || !(timesteps[i] >= timesteps[i - 1]), field,
                    "must be below the one before");
    }
  }
  return violations;
}

}  // namespace denoise
