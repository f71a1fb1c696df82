// Heun's method in sigma: algorithms 1 and 2 of Karras et al. 2022.
//
// A step of Euler's method, and then the step again with the mean of the directions dx / dsigma at
// its two ends. Slot 0 is x / alpha; slot 1, between the two evaluations of a step, is where half a
// step along the first direction leads. Algorithm 2 adds fresh noise before a step asks the
// network; the evaluation before does that here, and the start's own noise before the first.
#include <cmath>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

// Whether to redo the step. No direction exists where no noise is left; a step that stands still
// needs none.
bool HasCorrection(const Move& move) {
  return move.to.sigma > 0 && move.to.sigma != move.from.sigma;
}

Evaluation Predict(const Move& move, double sigma, double step, const SamplerOptions& options) {
  Evaluation evaluation = StartSigmaEvaluation(move, options);
  const LinearForm euler = step * SigmaDirection(sigma);
  evaluation.update = UpdateMatrix({Slot(0) + euler, Slot(0) + 0.5 * euler});
  return evaluation;
}

Evaluation Correct(const Move& end, double sigma, double step, const SamplerOptions& options) {
  Evaluation evaluation = StartSigmaEvaluation(end, options);
  evaluation.update = UpdateMatrix({Slot(1) + 0.5 * step * SigmaDirection(sigma), LinearForm()});
  return evaluation;
}

void AddNoise(const Move& up, const SamplerOptions& options, SamplerPlan& plan) {
  const double noise = options.s_noise * std::sqrt(Square(up.to.ratio()) - Square(up.from.ratio()));
  if (plan.evaluations.empty()) {
    plan.init_noise_scale = std::hypot(plan.init_noise_scale, noise * options.noise_temperature);
  } else {
    plan.evaluations.back().noise = noise;
  }
}

}  // namespace

SamplerPlan CompileHeun(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartSigmaPlan(path, options, /*slots=*/2);
  for (const Move& move : path) {
    if (GoesUp(move)) {
      AddNoise(move, options, plan);
      continue;
    }
    const double from = SigmaOf(move.from, options), to = SigmaOf(move.to, options);
    plan.evaluations.push_back(Predict(move, from, to - from, options));
    if (!HasCorrection(move)) continue;
    plan.evaluations.back().ends_step = false;
    plan.evaluations.push_back(Correct(EndOf(move), to, to - from, options));
  }
  return plan;
}

}  // namespace denoise
