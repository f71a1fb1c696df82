#include "core/sampling/samplers/beta_quantile.h"

#include <boost/math/special_functions/beta.hpp>

#include "core/base/check.h"

namespace denoise {

double BetaQuantile(double a, double b, double probability) {
  DENOISE_DCHECK(a > 0 && b > 0);
  DENOISE_DCHECK(probability >= 0 && probability <= 1);
  return boost::math::ibeta_inv(a, b, probability);
}

}  // namespace denoise
