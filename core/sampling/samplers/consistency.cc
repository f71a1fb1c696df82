// Multistep consistency sampling (Song et al. 2023, algorithm 1): each step goes to the x0 that the
// network sees, and back out to the next level with fresh noise.
//
// A consistency model's x0 is the end of the trajectory at sigma_min, whose noise counts for that of
// the next level. On flow checkpoints this is what the library calls stochastic sampling.
#include <algorithm>
#include <cmath>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

// Of the noise at `move.to` what x0 does not hold already.
double FreshNoise(const Move& move) {
  const double held = move.preconditioning.has_value() ? move.preconditioning->boundary : 0;
  return std::sqrt(std::max(0.0, move.to.sigma * move.to.sigma - held * held));
}

}  // namespace

SamplerPlan CompileConsistency(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartPlan(path, /*slots=*/1);
  plan.init_noise_scale = path.front().from.sigma;
  for (const Move& move : path) {
    Evaluation evaluation = StartEvaluation(move, options);
    evaluation.update = UpdateMatrix({move.to.alpha * X0()});
    evaluation.noise = options.s_noise * FreshNoise(move);
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
