// Trajectory consistency distillation (Zheng et al. 2024), its strategic stochastic sampling: the
// network, distilled so that one call leads anywhere along the ODE, jumps below the next timestep
// t', to s = (1 - gamma) t', and fresh noise brings the image up to t'. `eta` is gamma.
//
// A path of TCD is made of jumps, each but the last followed by a move towards more noise where
// gamma is above 0.
#include <cmath>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {

SamplerPlan CompileTcd(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartPlan(path, /*slots=*/1);
  for (const Move& move : path) {
    if (GoesUp(move)) {
      // q(x_t' | x_s)
      const double keep = move.to.alpha / move.from.alpha;
      Evaluation& jump = plan.evaluations.back();
      for (int column = 0; column < jump.update.columns(); ++column) jump.update(0, column) *= keep;
      jump.noise = std::sqrt(Square(move.to.sigma) - Square(keep * move.from.sigma));
      continue;
    }
    Evaluation evaluation = StartEvaluation(move, options);
    evaluation.update = UpdateMatrix({move.to.alpha * X0() + move.to.sigma * NoiseIn(move.from)});
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
