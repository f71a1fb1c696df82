// Denoising diffusion probabilistic models: each step draws from the Gaussian p(x_prev | x_t),
// whose mean is the posterior's at the predicted x0 and whose variance is one of several choices.
#include <algorithm>
#include <cmath>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

// The library's lower bound of the posterior variance. Because of it, the last step of a spacing
// that stops above timestep 0 still draws noise, too little to see.
constexpr double kMinVariance = 1e-20;

// The posterior q(x_prev | x_t, x0) (Ho et al. 2020, eq. 6 and 7). One step may span many training
// timesteps.
struct Posterior {
  double beta;     // 1 - alphas_cumprod[t] / alphas_cumprod[prev]
  double from_x0;  // mean = from_x0 * x0 + from_xt * x_t
  double from_xt;
  double variance;  // beta tilde

  explicit Posterior(const Move& move) {
    const double alpha_ratio = move.from.alpha / move.to.alpha;
    const double variance_ratio = Square(move.to.sigma / move.from.sigma);
    beta = 1 - Square(alpha_ratio);
    from_x0 = move.to.alpha * beta / Square(move.from.sigma);
    from_xt = alpha_ratio * variance_ratio;
    variance = std::max(variance_ratio * beta, kMinVariance);
  }
};

NoiseScale ReverseNoise(const Posterior& posterior, VarianceType type) {
  switch (type) {
    case VarianceType::kFixedSmall:
    case VarianceType::kFixedSmallLog:
      return std::sqrt(posterior.variance);
    case VarianceType::kFixedLarge:
    case VarianceType::kFixedLargeLog:
      return std::sqrt(posterior.beta);
    case VarianceType::kLearned:
      return LearnedVariance{};
    case VarianceType::kLearnedRange:  // Nichol & Dhariwal 2021, eq. 15
      return LearnedRange{std::log(posterior.variance), std::log(posterior.beta)};
  }
  return 0.0;
}

}  // namespace

SamplerPlan CompileDdpm(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartPlan(path, /*slots=*/1);
  for (const Move& move : path) {
    Evaluation evaluation = StartEvaluation(move, options);
    const Posterior posterior(move);
    evaluation.update = UpdateMatrix({posterior.from_xt * Slot(0) + posterior.from_x0 * X0()});
    if (move.timestep > 0) evaluation.noise = ReverseNoise(posterior, options.variance_type);
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
