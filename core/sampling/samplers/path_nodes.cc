#include "core/sampling/samplers/path_nodes.h"

#include <boost/math/special_functions/beta.hpp>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/schedules/linspace.h"

namespace denoise {
namespace {

// Karras et al. 2022, eq. 5.
std::vector<double> KarrasLogSigmas(const SigmaRange& range, int steps) {
  std::vector<double> log_sigmas =
      Linspace(std::exp(range.log_max / range.rho), std::exp(range.log_min / range.rho), steps);
  for (double& value : log_sigmas) value = range.rho * std::log(value);
  return log_sigmas;
}

// The x with P(X <= x) = `probability` for X ~ Beta(a, b).
double BetaQuantile(double a, double b, double probability) {
  DENOISE_DCHECK(a > 0 && b > 0);
  DENOISE_DCHECK(probability >= 0 && probability <= 1);
  return boost::math::ibeta_inv(a, b, probability);
}

// Lee et al. 2024: sigma at the quantiles of Beta(0.6, 0.6), which are denser at both ends.
std::vector<double> BetaLogSigmas(const SigmaRange& range, int steps) {
  constexpr double kShape = 0.6;
  const double sigma_min = std::exp(range.log_min), sigma_max = std::exp(range.log_max);
  std::vector<double> log_sigmas = Linspace(1, 0, steps);
  for (double& value : log_sigmas) {
    const double quantile = BetaQuantile(kShape, kShape, value);
    value = std::log(sigma_min + quantile * (sigma_max - sigma_min));
  }
  return log_sigmas;
}

absl::StatusOr<SigmaRange> Narrowed(SigmaRange range, const SamplerOptions& options) {
  if (options.sigma_max.has_value()) range.log_max = std::log(*options.sigma_max);
  if (options.sigma_min.has_value()) range.log_min = std::log(*options.sigma_min);
  range.rho = options.rho.value_or(range.rho);
  if (options.steps == 1 || range.log_min < range.log_max) return range;
  return InvalidField(options.sigma_min.has_value() ? "sigma_min" : "sigma_max",
                      absl::StrCat("leaves no room between sigma_min, ", std::exp(range.log_min),
                                   ", and sigma_max, ", std::exp(range.log_max)));
}

// Two values of lambda closer than this are the same: computed ones are rounded, and given ones
// are printed with six digits.
constexpr double kSameLambda = 1e-5;

// Spacings computed in log sigma reach sigma_min up to rounding. The last step then stays in place
// instead of going slightly backwards.
Node EndAfter(const Node& last, const Node& end) {
  return std::abs(last.level.lambda() - end.level.lambda()) < kSameLambda ? last : end;
}

}  // namespace

NoiseLevel PreservingLevel(double ratio) {
  const double alpha = 1 / std::hypot(ratio, 1);
  return {alpha, ratio * alpha};
}

double CutOff(double timestep) {
  constexpr double kTimestepRounding = 1e-4;
  return std::floor(timestep + kTimestepRounding);
}

absl::StatusOr<std::vector<double>> SpaceLogSigmas(SigmaRange range,
                                                   const SamplerOptions& options) {
  ASSIGN_OR_RETURN(range, Narrowed(range, options));
  switch (options.sigma_spacing) {
    case SigmaSpacing::kKarras:
      return KarrasLogSigmas(range, options.steps);
    case SigmaSpacing::kBeta:
      return BetaLogSigmas(range, options.steps);
    default:
      return Linspace(range.log_max, range.log_min, options.steps);
  }
}

absl::Status CheckSigmas(const SigmaRange& range, const SamplerOptions& options) {
  FieldViolations violations;
  for (size_t i = 0; i < options.sigmas.size(); ++i) {
    const double log_sigma = std::log(options.sigmas[i]);
    if (log_sigma >= range.log_min - kSameLambda && log_sigma <= range.log_max + kSameLambda)
      continue;
    violations.Add(
        absl::StrCat("sigmas[", i, "]"),
        absl::StrCat("must be between ", std::exp(range.log_min), " and ", std::exp(range.log_max),
                     ", the schedule's, is ", options.sigmas[i]));
  }
  return violations.ToStatus();
}

absl::StatusOr<NoisePath> ConnectNodes(const std::vector<Node>& nodes, const Node& end,
                                       const SamplerOptions& options) {
  NoisePath path;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const bool last = i + 1 == nodes.size();
    const Node next = last ? EndAfter(nodes[i], end) : nodes[i + 1];
    path.push_back({.timestep = nodes[i].timestep,
                    .from = nodes[i].level,
                    .to = next.level,
                    .end_timestep = next.timestep});
    const double from = nodes[i].level.lambda(), to = next.level.lambda();
    if (last && to < from) {
      return InvalidField("final_sigma", "is above the noise level of the last step");
    }
    if (!last && !(from < to)) {
      return InvalidField(!options.timesteps.empty() ? "timesteps"
                          : !options.sigmas.empty()  ? "sigmas"
                                                     : "steps",
                          to < from ? "puts a step at a higher noise level than the one before it"
                                    : "puts two steps at the same noise level; take fewer");
    }
  }
  return path;
}

NoisePath AddChurn(const NoisePath& path, const SamplerOptions& options,
                   const std::function<Node(double log_sigma)>& node_at) {
  NoisePath churned;
  for (const Move& move : path) {
    const double sigma = move.from.ratio();
    const double gamma = Churn(sigma, path.size(), options);
    Move step = move;
    if (gamma > 0) {
      const Node raised = node_at(std::log(sigma * (1 + gamma)));
      Move up = move;
      up.to = step.from = raised.level;
      up.end_timestep = step.timestep = raised.timestep;
      churned.push_back(up);
    }
    churned.push_back(step);
  }
  return churned;
}

}  // namespace denoise
