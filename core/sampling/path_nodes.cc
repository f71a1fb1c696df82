#include "core/sampling/path_nodes.h"

#include <cmath>

#include "core/base/field_violations.h"

namespace denoise {
namespace {

constexpr double kKarrasRho = 7;  // Karras et al. 2022, table 1

// The i-th of `steps` values from `first` down to `last`.
double Ramp(double first, double last, int i, int steps) {
  return steps == 1 ? first : first + (last - first) * i / (steps - 1);
}

// Karras et al. 2022, eq. 5.
double KarrasLogSigma(double max, double min, int i, int steps) {
  return kKarrasRho *
         std::log(Ramp(std::exp(max / kKarrasRho), std::exp(min / kKarrasRho), i, steps));
}

// Spacings computed in log sigma arrive at sigma_min but for rounding; the last step then stands
// still instead of going a hair backwards.
NoiseLevel EndAfter(const NoiseLevel& last, const NoiseLevel& end) {
  constexpr double kRoundingError = 1e-9;
  return std::abs(last.lambda() - end.lambda()) < kRoundingError ? last : end;
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

std::vector<double> SpaceLogSigmas(double max, double min, const SamplerOptions& options) {
  const auto log_sigma = options.sigma_spacing == SigmaSpacing::kKarras ? KarrasLogSigma : Ramp;
  std::vector<double> log_sigmas;
  for (int i = 0; i < options.steps; ++i) {
    log_sigmas.push_back(log_sigma(max, min, i, options.steps));
  }
  return log_sigmas;
}

absl::StatusOr<NoisePath> ConnectNodes(const std::vector<Node>& nodes, const NoiseLevel& end,
                                       const SamplerOptions& options) {
  NoisePath path;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const bool last = i + 1 == nodes.size();
    const NoiseLevel next = last ? EndAfter(nodes[i].level, end) : nodes[i + 1].level;
    path.push_back({nodes[i].timestep, nodes[i].level, next});
    if (!last && !(nodes[i].level.lambda() < next.lambda())) {
      return InvalidField(options.timesteps.empty() ? "steps" : "timesteps",
                          "puts two steps at the same noise level; take fewer");
    }
  }
  return path;
}

}  // namespace denoise
