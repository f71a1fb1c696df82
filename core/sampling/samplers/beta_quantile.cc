#include "core/sampling/samplers/beta_quantile.h"

#include <boost/math/special_functions/beta.hpp>

namespace denoise {

double BetaQuantile(double a, double b, double probability) {
  return boost::math::ibeta_inv(a, b, probability);
}

}  // namespace denoise
