#include "core/train/loss_weighting.h"

#include <algorithm>
#include <cmath>

namespace denoise {

double X0Weight(const ObjectiveOptions& options, const NoiseLevel& level, double sigma_data) {
  const double ratio = level.alpha / level.sigma;
  const double snr = ratio * ratio;
  switch (options.weighting) {
    case LossWeighting::kUniform:
      break;
    case LossWeighting::kMinSnr:  // Hang et al. 2023, eq. 7
      return std::min(snr, options.min_snr_gamma);
    case LossWeighting::kP2:  // Choi et al. 2022, eq. 8; x0 errs by 1 / SNR of the error in epsilon
      return snr / std::pow(options.p2_k + snr, options.p2_gamma);
    case LossWeighting::kEdm:  // Karras et al. 2022, table 1, with sigma^2 = 1 / SNR
      return snr + 1 / (sigma_data * sigma_data);
  }
  return 1;
}

double OutputWeight(const ObjectiveOptions& options, const NoiseLevel& level, double x0_from_output,
                    double sigma_data) {
  if (options.weighting == LossWeighting::kUniform) return 1;
  return X0Weight(options, level, sigma_data) * x0_from_output * x0_from_output;
}

}  // namespace denoise
