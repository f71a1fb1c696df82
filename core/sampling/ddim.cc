// Denoising diffusion implicit models (Song et al. 2021, eq. 12): towards the predicted x0, then
// back out along the predicted noise to the next level, with fresh noise in the place of a part of
// it when eta > 0.
#include <algorithm>
#include <cmath>

#include "core/sampling/linear_form.h"
#include "core/sampling/noise_path.h"

namespace denoise {
namespace {

// sigma of eq. 16; eta = 1 is the standard deviation of DDPM's posterior.
double StepNoise(const Move& move, double eta) {
  if (eta == 0) return 0;
  const double beta = 1 - Square(move.from.alpha / move.to.alpha);
  return eta * (move.to.sigma / move.from.sigma) * std::sqrt(beta);
}

// The noise that the network sees in x, whatever it predicts. By default it is read from the raw
// output: a clipped x0 does not change the direction.
LinearForm PredictedNoise(const NoiseLevel& level, const SamplerOptions& options) {
  if (options.use_clipped_model_output) return NoiseIn(level);
  switch (options.prediction_type) {
    case PredictionType::kEpsilon:
      return Output();
    case PredictionType::kSample:
      return (Slot(0) - level.alpha * Output()) / level.sigma;
    case PredictionType::kVPrediction:
      return level.alpha * Output() + level.sigma * Slot(0);
    case PredictionType::kFlowPrediction:
      return Slot(0) + level.alpha * Output();
  }
  return {};
}

}  // namespace

SamplerPlan CompileDdim(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartPlan(path, /*slots=*/1);
  for (const Move& move : path) {
    Evaluation evaluation = StartEvaluation(move, options);
    const double noise = StepNoise(move, options.eta);
    const double direction = std::sqrt(std::max(0.0, Square(move.to.sigma) - Square(noise)));
    evaluation.update =
        UpdateMatrix({move.to.alpha * X0() + direction * PredictedNoise(move.from, options)});
    evaluation.noise = noise;
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
