// The variance-preserving SDE dx = -beta x / 2 dt + sqrt(beta) dw (Song et al. 2021, eq. 11),
// backwards in time by Euler-Maruyama (eq. 6), and its probability flow ODE by Euler's method (eq.
// 13).
//
// A step uses the integral of beta over it, 2 log(alpha_to / alpha_from). A last step to no noise
// takes the denoised mean, E[x0 | x].
#include <cmath>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

// grad log p(x), from the noise that the network sees.
LinearForm Score(const NoiseLevel& level) { return (-1 / level.sigma) * NoiseIn(level); }

}  // namespace

SamplerPlan CompileVpSde(const NoisePath& path, const SamplerOptions& options) {
  const bool stochastic = options.sampler == SamplerKind::kVpSde;
  SamplerPlan plan = StartPlan(path, /*slots=*/1);
  for (const Move& move : path) {
    Evaluation evaluation = StartEvaluation(move, options);
    if (move.to.sigma == 0) {
      evaluation.update = UpdateMatrix({X0()});
    } else {
      const double beta = 2 * std::log(move.to.alpha / move.from.alpha);
      const LinearForm drift = 0.5 * Slot(0) + (stochastic ? 1 : 0.5) * Score(move.from);
      evaluation.update = UpdateMatrix({Slot(0) + beta * drift});
      if (stochastic) evaluation.noise = std::sqrt(beta);
    }
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
