// How much signal and how much noise an image holds.
#pragma once

#include <cmath>

namespace denoise {

// x = alpha * x0 + sigma * epsilon, epsilon standard normal.
struct NoiseLevel {
  double alpha = 1;
  double sigma = 0;

  double ratio() const { return sigma / alpha; }  // "sigma" to the samplers that step in it

  // log(alpha / sigma), half the log-SNR; +inf without noise, -inf without signal.
  double lambda() const { return std::log(alpha) - std::log(sigma); }
  double log_snr() const { return 2 * lambda(); }
};

}  // namespace denoise
