#include "core/sampling/schedules/preconditioning.h"

#include <cmath>

namespace denoise {
namespace {

// Solves x = alpha * x0 + sigma * epsilon for x0, given what the network predicts. Its v is
// alpha * epsilon - sigma * x0 (Salimans & Ho 2022), which assumes alpha^2 + sigma^2 = 1; a flow's
// velocity is epsilon - x0 (Lipman et al. 2023), which assumes alpha + sigma = 1.
Scalings PlainScalings(const NoiseLevel& level, PredictionType type) {
  switch (type) {
    case PredictionType::kEpsilon:
      return {.c_skip = 1 / level.alpha, .c_out = -level.sigma / level.alpha};
    case PredictionType::kSample:
      return {.c_skip = 0, .c_out = 1};
    case PredictionType::kVPrediction:
      return {.c_skip = level.alpha, .c_out = -level.sigma};
    case PredictionType::kFlowPrediction:
      return {.c_skip = 1, .c_out = -level.sigma};
    case PredictionType::kInvertedFlowPrediction:
      return {.c_skip = 1, .c_out = level.sigma};
  }
  return {};
}

}  // namespace

Scalings ScalingsAt(const NoiseLevel& level, PredictionType type,
                    const std::optional<Preconditioning>& preconditioning) {
  if (!preconditioning.has_value()) return PlainScalings(level, type);
  const auto [sigma_data, boundary] = *preconditioning;
  const double deviation = std::hypot(level.sigma, sigma_data);  // of x
  const double above = level.sigma - boundary;
  const double sign = type == PredictionType::kVPrediction ? -1 : 1;
  return {.c_in = 1 / deviation,
          .c_skip = sigma_data * sigma_data / (above * above + sigma_data * sigma_data),
          .c_out = sign * above * sigma_data / deviation};
}

}  // namespace denoise
