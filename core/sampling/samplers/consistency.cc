// Samplers of networks that were distilled to jump far in one call.
//
// Multistep consistency sampling (Song et al. 2023, algorithm 1): each step goes to the x0 that the
// network predicts and back to the next level with fresh noise. A consistency model's x0 is the end
// of the trajectory at sigma_min, whose noise is part of that of the next level. On flow
// checkpoints the library calls this stochastic sampling.
//
// Latent consistency models (Luo et al. 2023): the same at a few levels, with a consistency
// function that is x itself at timestep 0.
//
// Trajectory consistency distillation (Zheng et al. 2024), with its strategic stochastic sampling:
// one call can lead anywhere along the ODE. It jumps below the next timestep t', to
// s = (1 - gamma) t', and fresh noise brings the image up to t'. `eta` is gamma. A path of TCD is
// made of jumps, each but the last followed by a move towards more noise if gamma is above 0.
#include <algorithm>
#include <cmath>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

// The noise at `move.to` that x0 does not already have.
double FreshNoise(const Move& move) {
  const double held = move.preconditioning.has_value() ? move.preconditioning->boundary : 0;
  return std::sqrt(std::max(0.0, move.to.sigma * move.to.sigma - held * held));
}

constexpr double kLcmSigmaData = 0.5;

// The consistency function c_skip * x + c_out * x0, which is x itself at timestep 0 (Luo et al.
// 2023, section 4.1, with the library's scaling of the timestep).
LinearForm ConsistencyFunction(double timestep, double timestep_scaling) {
  const double scaled = timestep * timestep_scaling;
  const double length = std::hypot(scaled, kLcmSigmaData);
  const double c_skip = Square(kLcmSigmaData / length);
  const double c_out = scaled / length;
  return c_skip * Slot(0) + c_out * X0();
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

SamplerPlan CompileLcm(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartPlan(path, /*slots=*/1);
  for (const Move& move : path) {
    Evaluation evaluation = StartEvaluation(move, options);
    const LinearForm image = ConsistencyFunction(move.timestep, options.timestep_scaling);
    evaluation.update = UpdateMatrix({move.to.alpha * image});
    evaluation.noise = move.to.sigma;
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

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
