// Denoising diffusion implicit models (Song et al. 2021, eq. 12): to the predicted x0, then back
// along the predicted noise to the next level. With eta > 0, fresh noise replaces a part of the
// predicted noise.
#include <algorithm>
#include <cmath>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

// sigma of eq. 16; eta = 1 is the standard deviation of DDPM's posterior.
double StepNoise(const Move& move, double eta) {
  if (eta == 0) return 0;
  const double beta = 1 - Square(move.from.alpha / move.to.alpha);
  return eta * (move.to.sigma / move.from.sigma) * std::sqrt(beta);
}

// The noise that the network sees in x, whatever it predicts. By default it is computed from the
// raw output, so clipping x0 does not change the direction.
LinearForm PredictedNoise(const Evaluation& evaluation, const SamplerOptions& options) {
  const LinearForm raw_x0 =
      evaluation.x0_from_state * Slot(0) + evaluation.x0_from_output * Output();
  const LinearForm x0 = options.use_clipped_model_output ? X0() : raw_x0;
  return (Slot(0) - evaluation.alpha * x0) / evaluation.sigma;
}

}  // namespace

SamplerPlan CompileDdim(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartPlan(path, /*slots=*/1);
  for (const Move& move : path) {
    Evaluation evaluation = StartEvaluation(move, options);
    const double noise = StepNoise(move, options.eta);
    const double direction = std::sqrt(std::max(0.0, Square(move.to.sigma) - Square(noise)));
    evaluation.update =
        UpdateMatrix({move.to.alpha * X0() + direction * PredictedNoise(evaluation, options)});
    evaluation.noise = noise;
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
