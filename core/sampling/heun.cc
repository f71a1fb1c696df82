// Heun's method in sigma: algorithm 1 of Karras et al. 2022.
//
// A step of Euler's method, and then the step again with the mean of the directions dx / dsigma at
// its two ends. Slot 0 is x / alpha; slot 1, between the two evaluations of a step, is where half a
// step along the first direction leads.
#include "core/sampling/linear_form.h"
#include "core/sampling/noise_path.h"

namespace denoise {
namespace {

// Where the network is asked a second time: at the step's end.
Move EndOf(const Move& move) {
  Move end = move;
  end.timestep = move.end_timestep;
  end.from = move.to;
  return end;
}

// Whether to redo the step. No direction exists where no noise is left; a step that stands still
// needs none.
bool HasCorrection(const Move& move) {
  return move.to.sigma > 0 && move.to.sigma != move.from.sigma;
}

Evaluation Predict(const Move& move, const SamplerOptions& options) {
  Evaluation evaluation = StartSigmaEvaluation(move, options);
  const LinearForm euler = (move.to.ratio() - move.from.ratio()) * SigmaDirection(move);
  evaluation.update = UpdateMatrix({Slot(0) + euler, Slot(0) + 0.5 * euler});
  return evaluation;
}

// `length` is the step's, in sigma.
Evaluation Correct(const Move& end, double length, const SamplerOptions& options) {
  Evaluation evaluation = StartSigmaEvaluation(end, options);
  evaluation.update = UpdateMatrix({Slot(1) + 0.5 * length * SigmaDirection(end), LinearForm()});
  return evaluation;
}

}  // namespace

SamplerPlan CompileHeun(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartSigmaPlan(path, options, /*slots=*/2);
  for (const Move& move : path) {
    plan.evaluations.push_back(Predict(move, options));
    if (!HasCorrection(move)) continue;
    plan.evaluations.back().ends_step = false;
    plan.evaluations.push_back(Correct(EndOf(move), move.to.ratio() - move.from.ratio(), options));
  }
  return plan;
}

}  // namespace denoise
