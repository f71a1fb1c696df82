#include "core/train/learning_rate.h"

#include <cmath>
#include <numbers>

#include "core/base/check.h"

namespace denoise {
namespace {

// `progress` in [0, 1).
double Remaining(LearningRateDecay decay, double progress) {
  switch (decay) {
    case LearningRateDecay::kConstant:
      return 1;
    case LearningRateDecay::kCosine:
      return (1 + std::cos(std::numbers::pi * progress)) / 2;
    case LearningRateDecay::kLinear:
      return 1 - progress;
  }
  return 1;
}

}  // namespace

double LearningRateAt(const OptimizerOptions& options, int64_t max_steps, int64_t step) {
  DENOISE_DCHECK(step >= 1 && step <= max_steps);
  const int64_t warmup = options.warmup_steps;
  if (step <= warmup) {
    return options.learning_rate * static_cast<double>(step) / static_cast<double>(warmup);
  }
  const double progress =
      static_cast<double>(step - 1 - warmup) / static_cast<double>(max_steps - warmup);
  return options.learning_rate * Remaining(options.decay, progress);
}

}  // namespace denoise
