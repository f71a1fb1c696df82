#include "core/sampling/path_nodes.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// The i-th of `steps` values from `first` down to `last`.
double Ramp(double first, double last, int i, int steps) {
  return steps == 1 ? first : first + (last - first) * i / (steps - 1);
}

// Karras et al. 2022, eq. 5.
double KarrasLogSigma(const SigmaRange& range, int i, int steps) {
  const double rho = range.rho;
  return rho *
         std::log(Ramp(std::exp(range.log_max / rho), std::exp(range.log_min / rho), i, steps));
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

// Spacings computed in log sigma arrive at sigma_min but for rounding; the last step then stands
// still instead of going a hair backwards.
Node EndAfter(const Node& last, const Node& end) {
  constexpr double kRoundingError = 1e-9;
  return std::abs(last.level.lambda() - end.level.lambda()) < kRoundingError ? last : end;
}

}  // namespace

NoiseLevel PreservingLevel(double ratio) {
  const double alpha = 1 / std::hypot(ratio, 1);
  return {alpha, ratio * alpha};
}

double CutOff(double timestep) {
  constexpr double kRoundingError = 1e-4;
  return std::floor(timestep + kRoundingError);
}

absl::StatusOr<std::vector<double>> SpaceLogSigmas(SigmaRange range,
                                                   const SamplerOptions& options) {
  ASSIGN_OR_RETURN(range, Narrowed(range, options));
  const bool karras = options.sigma_spacing == SigmaSpacing::kKarras;
  std::vector<double> log_sigmas;
  for (int i = 0; i < options.steps; ++i) {
    log_sigmas.push_back(karras ? KarrasLogSigma(range, i, options.steps)
                                : Ramp(range.log_max, range.log_min, i, options.steps));
  }
  return log_sigmas;
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
    if (!last && !(nodes[i].level.lambda() < next.level.lambda())) {
      return InvalidField(options.timesteps.empty() ? "steps" : "timesteps",
                          "puts two steps at the same noise level; take fewer");
    }
  }
  return path;
}

}  // namespace denoise
