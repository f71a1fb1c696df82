// Heun's method in sigma: algorithms 1 and 2 of Karras et al. 2022.
//
// Takes a step of Euler's method, then repeats it with the mean of the directions dx / dsigma at
// its two ends. Slot 0 is x / alpha. Between the two evaluations of a step, slot 1 is x / alpha
// after half a step along the first direction. Algorithm 2 adds fresh noise before a step evaluates
// the network; here the previous evaluation adds it, or the initial noise before the first step.
#include <cmath>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

// Whether to repeat the step. Without noise there is no direction, and a step that does not move
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
