#include "core/sampling/samplers/dpm_solver_step.h"

#include <cmath>

namespace denoise {
namespace {

// The first-order weights are written in alpha and sigma instead of e^h, so that they hold where h
// is infinite.

// Lu et al. 2022a, proposition 3.1.
StepWeights NoiseWeights(const NoiseLevel& s, const NoiseLevel& t, int order) {
  StepWeights weights{.state = t.alpha / s.alpha, .d0 = t.sigma - t.alpha * s.sigma / s.alpha};
  if (order == 1) return weights;
  const double h = t.lambda() - s.lambda();
  weights.d1 = -t.sigma * (std::expm1(h) / h - 1);
  weights.d2 = -t.sigma * ((std::expm1(h) - h) / (h * h) - 0.5);
  return weights;
}

// Lu et al. 2022b, proposition 4.1 and algorithm 2.
StepWeights DataWeights(const NoiseLevel& s, const NoiseLevel& t, int order) {
  StepWeights weights{.state = t.sigma / s.sigma, .d0 = t.alpha - t.sigma * s.alpha / s.sigma};
  if (order == 1) return weights;
  const double h = t.lambda() - s.lambda();
  weights.d1 = t.alpha * (std::expm1(-h) / h + 1);
  weights.d2 = -t.alpha * ((std::expm1(-h) + h) / (h * h) - 0.5);
  return weights;
}

// The reverse-time SDE in place of the ODE: SDE-DPM-Solver++ of Lu et al. 2022b.
StepWeights StochasticDataWeights(const NoiseLevel& s, const NoiseLevel& t, int order) {
  const double decay = (t.sigma * s.alpha) / (t.alpha * s.sigma);  // e^-h
  StepWeights weights{.state = t.sigma / s.sigma * decay,
                      .d0 = t.alpha * (1 - decay * decay),
                      .noise = t.sigma * std::sqrt(1 - decay * decay)};
  if (order == 1) return weights;
  const double h = t.lambda() - s.lambda();
  weights.d1 = t.alpha * (std::expm1(-2 * h) / (2 * h) + 1);
  return weights;
}

bool ExpandsNoise(SamplerKind sampler) {
  return sampler == SamplerKind::kDpmSolver || sampler == SamplerKind::kDpmSolverSinglestep;
}

StepWeights ExactWeights(const NoiseLevel& s, const NoiseLevel& t, int order, SamplerKind sampler) {
  if (ExpandsNoise(sampler)) return NoiseWeights(s, t, order);
  return IsSdeSolver(sampler) ? StochasticDataWeights(s, t, order) : DataWeights(s, t, order);
}

}  // namespace

StepWeights DpmSolverWeights(const NoiseLevel& s, const NoiseLevel& t, int order,
                             const SamplerOptions& options) {
  StepWeights weights = ExactWeights(s, t, order, options.sampler);
  // The midpoint form of order 2 has half the weight of D0; Heun's form, and order 3, integrate D1
  // exactly.
  const bool midpoint = ResolvedSolverType(options) == SolverType::kMidpoint;
  if (order == 2 && midpoint) weights.d1 = 0.5 * weights.d0;
  return weights;
}

LinearForm ModelValue(const NoiseLevel& level, const SamplerOptions& options) {
  return ExpandsNoise(options.sampler) ? NoiseIn(level) : X0();
}

}  // namespace denoise
