// How much signal and noise an image contains.
#pragma once

#include <cmath>

namespace denoise {

// x = alpha * x0 + sigma * epsilon, epsilon standard normal.
struct NoiseLevel {
  double alpha = 1;
  double sigma = 0;

  double ratio() const { return sigma / alpha; }  // the "sigma" of the samplers in sigma

  // log(alpha / sigma), half the log-SNR; +inf without noise, -inf without signal.
  double lambda() const { return std::log(alpha) - std::log(sigma); }
  double log_snr() const { return 2 * lambda(); }
};

}  // namespace denoise
