#include "core/sampling/samplers/noise_path.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"

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

SamplerPlan CompileSampler(const NoisePath& path, const SamplerOptions& options) {
  switch (options.sampler) {
    case SamplerKind::kDdpm:
      return CompileDdpm(path, options);
    case SamplerKind::kDdim:
      return CompileDdim(path, options);
    case SamplerKind::kDpmSolver:
    case SamplerKind::kDpmSolverPlusPlus:
    case SamplerKind::kSdeDpmSolverPlusPlus:
      return CompileDpmSolver(path, options);
    case SamplerKind::kDpmSolverSinglestep:
    case SamplerKind::kDpmSolverPlusPlusSinglestep:
    case SamplerKind::kSdeDpmSolverPlusPlusSinglestep:
      return CompileDpmSolverSinglestep(path, options);
    case SamplerKind::kDeis:
      return CompileDeis(path, options);
    case SamplerKind::kUniPc:
      return CompileUniPc(path, options);
    case SamplerKind::kEuler:
      return CompileEuler(path, options);
    case SamplerKind::kEulerAncestral:
      return CompileEulerAncestral(path, options);
    case SamplerKind::kHeun:
      return CompileHeun(path, options);
    case SamplerKind::kPndm:
    case SamplerKind::kPlms:
      return CompilePndm(path, options);
    case SamplerKind::kLcm:
      return CompileLcm(path, options);
    case SamplerKind::kTcd:
      return CompileTcd(path, options);
    case SamplerKind::kVpSde:
    case SamplerKind::kVpOde:
      return CompileVpSde(path, options);
    case SamplerKind::kConsistency:
      return CompileConsistency(path, options);
  }
  return {};
}

NoiseScale Tempered(const NoiseScale& noise, double temperature) {
  if (temperature == 0) return 0.0;
  if (const double* scale = std::get_if<double>(&noise)) return *scale * temperature;
  if (const LearnedRange* range = std::get_if<LearnedRange>(&noise)) {
    const double shift = 2 * std::log(temperature);
    return LearnedRange{range->log_variance_min + shift, range->log_variance_max + shift};
  }
  return noise;
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
  // EDM starts with the deviation of data with deviation 1 plus that noise.
  if (first.preconditioning.has_value()) plan.init_noise_scale = std::hypot(first.from.sigma, 1);
  plan.evaluations.reserve(path.size());
  plan.final_alpha = path.back().to.alpha;
  plan.final_sigma = path.back().to.sigma;
  return plan;
}

bool GoesUp(const Move& move) { return move.to.lambda() < move.from.lambda(); }

Move EndOf(const Move& move) {
  Move end = move;
  end.timestep = move.end_timestep;
  end.from = move.to;
  return end;
}

double Churn(double sigma, size_t steps, const SamplerOptions& options) {
  if (sigma < options.s_tmin || sigma > options.s_tmax) return 0;
  return std::min(options.s_churn / static_cast<double>(steps), std::sqrt(2.0) - 1);
}

LinearForm NoiseIn(const NoiseLevel& level) { return (Slot(0) - level.alpha * X0()) / level.sigma; }

bool ExpandsNoise(const SamplerOptions& options) {
  switch (options.sampler) {
    case SamplerKind::kDpmSolver:
    case SamplerKind::kDpmSolverSinglestep:
      return true;
    case SamplerKind::kUniPc:
      return !options.predict_x0;
    default:
      return false;
  }
}

LinearForm ExpandedValue(const NoiseLevel& level, const SamplerOptions& options) {
  return ExpandsNoise(options) ? NoiseIn(level) : X0();
}

int MultistepOrder(const NoisePath& path, size_t step, const SamplerOptions& options) {
  const int order = std::min<int>(options.solver_order, static_cast<int>(step) + 1);
  const bool lower_final = options.lower_order_final && path.size() < kFewSteps;
  if (step + 1 == path.size()) {
    const NoiseLevel& end = path.back().to;
    const bool stands_still = end.sigma == path.back().from.sigma;
    if (options.euler_at_final || lower_final || end.sigma == 0 || stands_still) return 1;
  }
  if (step + 2 == path.size() && lower_final) return std::min(order, 2);
  return order;
}

Evaluation StartSigmaEvaluation(const Move& move, const SamplerOptions& options) {
  Evaluation evaluation = StartEvaluation(move, options);
  if (IsFlow(options.prediction_type)) return evaluation;
  evaluation.input_scale *= move.from.alpha;
  evaluation.x0_from_state *= move.from.alpha;
  evaluation.alpha = 1;
  evaluation.sigma = move.from.ratio();
  return evaluation;
}

double SigmaOf(const NoiseLevel& level, const SamplerOptions& options) {
  return IsFlow(options.prediction_type) ? level.sigma : level.ratio();
}

LinearForm SigmaDirection(double sigma) { return (Slot(0) - X0()) / sigma; }

// A run that begins at the schedule's end starts with the noise of x / alpha. Leading timesteps
// begin below it, and there the library allows for the signal that would be present, as it does on
// EDM's schedule. It goes by the configured spacing alone, also with custom timesteps or sigmas. A
// flow starts with its noise.
SamplerPlan StartSigmaPlan(const NoisePath& path, const SamplerOptions& options, int slots) {
  SamplerPlan plan = StartPlan(path, slots);
  if (IsFlow(options.prediction_type)) return plan;
  const double first = path.front().from.ratio();
  const bool room_for_signal = options.timestep_spacing == TimestepSpacing::kLeading ||
                               path.front().preconditioning.has_value();
  plan.init_noise_scale = room_for_signal ? std::hypot(first, 1) : first;
  plan.final_alpha = 1;
  plan.final_sigma = path.back().to.ratio();
  return plan;
}

SamplerPlan CompilePath(const NoisePath& path, const SamplerOptions& options) {
  DENOISE_DCHECK(!path.empty());
  SamplerPlan plan = CompileSampler(path, options);
  for (Evaluation& evaluation : plan.evaluations)
    evaluation.noise = Tempered(evaluation.noise, options.noise_temperature);
  return plan;
}

}  // namespace denoise
