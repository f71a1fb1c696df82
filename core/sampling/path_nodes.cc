#include "core/sampling/path_nodes.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/linspace.h"

namespace denoise {
namespace {

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
  if (options.sigma_spacing != SigmaSpacing::kKarras) {
    return Linspace(range.log_max, range.log_min, options.steps);
  }
  // Karras et al. 2022, eq. 5.
  std::vector<double> log_sigmas = Linspace(std::exp(range.log_max / range.rho),
                                            std::exp(range.log_min / range.rho), options.steps);
  for (double& value : log_sigmas) value = range.rho * std::log(value);
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
