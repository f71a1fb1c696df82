// Quantiles of the beta distribution, which beta spacing lays noise levels by.
#pragma once

namespace denoise {

// The x with P(X <= x) = `probability` of X ~ Beta(a, b). Requires a, b > 0 and a probability in
// [0, 1].
double BetaQuantile(double a, double b, double probability);

}  // namespace denoise
