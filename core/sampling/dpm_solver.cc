// DPM-Solver (Lu et al. 2022a) and DPM-Solver++ (Lu et al. 2022b), multistep, of order 1 to 3.
//
// With lambda = log(alpha / sigma) the diffusion ODE has an exact solution but for one integral, of
// the predicted noise against e^-lambda (DPM-Solver) or of the predicted x0 against e^lambda
// (DPM-Solver++). The prediction is expanded around the step's start s in backward differences D0,
// D1, D2, and the integral is taken term by term:
//
//     x_t = state * x_s + d0 * D0 + d1 * D1 + d2 * D2
//
// Slot 0 is x; slot j is the prediction j steps ago.
#include <algorithm>
#include <cmath>

#include "core/sampling/linear_form.h"
#include "core/sampling/noise_path.h"

namespace denoise {
namespace {

// Shorter runs than this lower the order over their last steps when lower_order_final says so.
constexpr size_t kFewSteps = 15;

struct StepWeights {
  double state = 0;
  double d0 = 0;
  double d1 = 0;
  double d2 = 0;
  double noise = 0;
};

// The first-order weights are written in alpha and sigma instead of e^h, so that they hold for a
// step to no noise, too, where h is infinite. In the functions below s is the start and t the end
// of the step.

// Lu et al. 2022b, proposition 4.1 and algorithm 2.
StepWeights DpmSolverPlusPlusWeights(const NoiseLevel& s, const NoiseLevel& t, int order) {
  StepWeights weights{.state = t.sigma / s.sigma, .d0 = t.alpha - t.sigma * s.alpha / s.sigma};
  if (order == 1) return weights;
  const double h = t.lambda() - s.lambda();
  weights.d1 = t.alpha * (std::expm1(-h) / h + 1);
  weights.d2 = -t.alpha * ((std::expm1(-h) + h) / (h * h) - 0.5);
  return weights;
}

// Lu et al. 2022a, proposition 3.1.
StepWeights DpmSolverWeights(const NoiseLevel& s, const NoiseLevel& t, int order) {
  StepWeights weights{.state = t.alpha / s.alpha, .d0 = t.sigma - t.alpha * s.sigma / s.alpha};
  if (order == 1) return weights;
  const double h = t.lambda() - s.lambda();
  weights.d1 = -t.sigma * (std::expm1(h) / h - 1);
  weights.d2 = -t.sigma * ((std::expm1(h) - h) / (h * h) - 0.5);
  return weights;
}

// The reverse-time SDE in place of the ODE: SDE-DPM-Solver++ of Lu et al. 2022b.
StepWeights SdeDpmSolverPlusPlusWeights(const NoiseLevel& s, const NoiseLevel& t, int order) {
  const double decay = (t.sigma * s.alpha) / (t.alpha * s.sigma);  // e^-h
  StepWeights weights{.state = t.sigma / s.sigma * decay,
                      .d0 = t.alpha * (1 - decay * decay),
                      .noise = t.sigma * std::sqrt(1 - decay * decay)};
  if (order == 1) return weights;
  const double h = t.lambda() - s.lambda();
  weights.d1 = t.alpha * (std::expm1(-2 * h) / (2 * h) + 1);
  return weights;
}

StepWeights WeightsOf(const Move& move, const SamplerOptions& options, int order) {
  const auto weights_of = options.sampler == SamplerKind::kDpmSolver ? DpmSolverWeights
                          : options.sampler == SamplerKind::kDpmSolverPlusPlus
                              ? DpmSolverPlusPlusWeights
                              : SdeDpmSolverPlusPlusWeights;
  StepWeights weights = weights_of(move.from, move.to, order);
  // The midpoint form of order 2 has half the weight of D0; Heun's form, and order 3, integrate D1
  // exactly.
  const bool midpoint = ResolvedSolverType(options) == SolverType::kMidpoint;
  if (order == 2 && midpoint) weights.d1 = 0.5 * weights.d0;
  return weights;
}

// Order p needs p - 1 earlier predictions. The last step is of order 1 where its end has no noise
// (the expansion does not exist there) and where it does not move at all (sigma_min reached
// already).
int OrderOfStep(const NoisePath& path, size_t step, const SamplerOptions& options) {
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

// What the solver expands: the predicted x0, or the noise that a (perhaps thresholded) x0 leaves in
// x.
LinearForm ModelValue(const NoiseLevel& level, const SamplerOptions& options) {
  if (options.sampler != SamplerKind::kDpmSolver) return X0();
  return (Slot(0) - level.alpha * X0()) / level.sigma;
}

// h of the step `steps_back` before `step`, over h of `step`.
double StepRatio(const NoisePath& path, size_t step, size_t steps_back) {
  const auto length = [&](size_t i) { return path[i].to.lambda() - path[i].from.lambda(); };
  return length(step - steps_back) / length(step);
}

LinearForm NextState(const NoisePath& path, size_t step, int order, const StepWeights& weights,
                     const SamplerOptions& options) {
  const LinearForm m0 = ModelValue(path[step].from, options);
  LinearForm next = weights.state * Slot(0) + weights.d0 * m0;
  if (order == 1) return next;
  const LinearForm m1 = Slot(1);
  const double r0 = StepRatio(path, step, 1);
  const LinearForm d1_newer = (m0 - m1) / r0;
  if (order == 2) return next + weights.d1 * d1_newer;
  const LinearForm m2 = Slot(2);
  const double r1 = StepRatio(path, step, 2);
  const LinearForm d1_older = (m1 - m2) / r1;
  const LinearForm d1 = d1_newer + (r0 / (r0 + r1)) * (d1_newer - d1_older);
  // d2 integrates the second derivative, which is twice the second divided difference. The
  // published algorithm lacks that 2 and converges with order 2; `corrected_third_order` puts it
  // back.
  const double factor = options.corrected_third_order ? 2 : 1;
  const LinearForm d2 = (factor / (r0 + r1)) * (d1_newer - d1_older);
  return next + weights.d1 * d1 + weights.d2 * d2;
}

}  // namespace

SamplerPlan CompileDpmSolver(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartPlan(path, options.solver_order);
  for (size_t step = 0; step < path.size(); ++step) {
    Evaluation evaluation = StartEvaluation(path[step], options);
    const int order = OrderOfStep(path, step, options);
    const StepWeights weights = WeightsOf(path[step], options, order);

    std::vector<LinearForm> slots = {NextState(path, step, order, weights, options)};
    if (plan.slots > 1) slots.push_back(ModelValue(path[step].from, options));
    for (int slot = 2; slot < plan.slots; ++slot) slots.push_back(Slot(slot - 1));

    evaluation.update = UpdateMatrix(slots);
    evaluation.noise = weights.noise;
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
