#include "core/sampling/noise_path.h"

#include <cmath>

namespace denoise {
namespace {

Clip X0Clip(const SamplerOptions& options) {
  if (options.thresholding) {
    return DynamicThreshold{options.dynamic_thresholding_ratio, options.sample_max_value};
  }
  if (options.clip_sample && SamplerReads(options.sampler, "clip_sample")) {
    return StaticClip{-options.clip_sample_range, options.clip_sample_range};
  }
  return std::monostate();
}

}  // namespace

Evaluation StartEvaluation(const Move& move, const SamplerOptions& options) {
  Evaluation evaluation;
  evaluation.timestep = move.timestep;
  const Scalings network = ScalingsAt(move.from, options.prediction_type, move.preconditioning);
  evaluation.input_scale = network.c_in;
  evaluation.x0_from_state = network.c_skip;
  evaluation.x0_from_output = network.c_out;
  evaluation.clip = X0Clip(options);
  evaluation.alpha = move.from.alpha;
  evaluation.sigma = move.from.sigma;
  return evaluation;
}

SamplerPlan StartPlan(const NoisePath& path, int slots) {
  const Move& first = path.front();
  SamplerPlan plan;
  plan.slots = slots;
  // EDM starts with the deviation of data of deviation 1 with that noise.
  if (first.preconditioning.has_value()) plan.init_noise_scale = std::hypot(first.from.sigma, 1);
  plan.evaluations.reserve(path.size());
  plan.final_alpha = path.back().to.alpha;
  plan.final_sigma = path.back().to.sigma;
  return plan;
}

Evaluation StartSigmaEvaluation(const Move& move, const SamplerOptions& options) {
  Evaluation evaluation = StartEvaluation(move, options);
  evaluation.input_scale *= move.from.alpha;
  evaluation.x0_from_state *= move.from.alpha;
  evaluation.alpha = 1;
  evaluation.sigma = move.from.ratio();
  return evaluation;
}

LinearForm SigmaDirection(const Move& move) { return (Slot(0) - X0()) / move.from.ratio(); }

// The noise at the start is that of x / alpha where the run begins at the schedule's end. Leading
// timesteps begin below it, and the library makes room for the signal that would be there; so it
// does on EDM's schedule.
SamplerPlan StartSigmaPlan(const NoisePath& path, const SamplerOptions& options, int slots) {
  SamplerPlan plan = StartPlan(path, slots);
  const double first = path.front().from.ratio();
  const bool leading =
      options.timesteps.empty() && options.timestep_spacing == TimestepSpacing::kLeading;
  const bool room_for_signal = leading || path.front().preconditioning.has_value();
  plan.init_noise_scale = room_for_signal ? std::hypot(first, 1) : first;
  plan.final_alpha = 1;
  plan.final_sigma = path.back().to.ratio();
  return plan;
}

SamplerPlan CompilePath(const NoisePath& path, const SamplerOptions& options) {
  switch (options.sampler) {
    case SamplerKind::kDdpm:
      return CompileDdpm(path, options);
    case SamplerKind::kDdim:
      return CompileDdim(path, options);
    case SamplerKind::kDpmSolver:
    case SamplerKind::kDpmSolverPlusPlus:
    case SamplerKind::kSdeDpmSolverPlusPlus:
      return CompileDpmSolver(path, options);
    case SamplerKind::kUniPc:
      return CompileUniPc(path, options);
    case SamplerKind::kEuler:
      return CompileEuler(path, options);
    case SamplerKind::kEulerAncestral:
      return CompileEulerAncestral(path, options);
    case SamplerKind::kHeun:
      return CompileHeun(path, options);
  }
  return {};
}

}  // namespace denoise
