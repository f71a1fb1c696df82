// DPM-Solver (Lu et al. 2022a) and DPM-Solver++ (Lu et al. 2022b) of order 1 to 3, multistep and
// singlestep.
//
// With lambda = log(alpha / sigma), the diffusion ODE has an exact solution except for one
// integral: of the predicted noise against e^-lambda (DPM-Solver), or of the predicted x0 against
// e^lambda (DPM-Solver++). The prediction is expanded around the step's start s, and the integral
// is taken term by term:
//
//     x_t = state * x_s + d0 * D0 + d1 * D1 + d2 * D2
//
// D0 is the prediction at s. D1 and D2 are its first and second derivative in lambda times h and
// h^2, where h is the step's length in lambda.
//
// Multistep: every step expands around its start in backward differences over the steps before it.
// Slot 0 is x; slot j is the prediction j steps ago.
//
// Singlestep (Lu et al. 2022a, algorithms 1 and 2): the path is taken in blocks of as many moves as
// the order. Each move of a block leads from the block's start to the move's own end: the first by
// a step of order 1, the second by one of order 2 that also uses the prediction made since, the
// third by one of order 3. So every move ends at an image that can be shown, and the order does not
// depend on what came before the block. Slot 0 is x, slot 1 is x at the block's start, and slot
// 1 + j is the prediction j moves ago.
#include <cmath>
#include <vector>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

struct StepWeights {
  double state = 0;
  double d0 = 0;
  double d1 = 0;
  double d2 = 0;
  double noise = 0;  // the standard deviation of the stochastic form's noise
};

// The first-order weights are written in alpha and sigma instead of e^h, so that they hold for
// infinite h.

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

// The reverse-time SDE in place of the ODE: SDE-DPM-Solver++ of Lu et al. 2022b, whose paper ends
// at order 2. d2 is the library's. The integral of 2 e^(-2 (h - tau)) tau^2 / 2 over a step, over
// h^2, has + 0.5 in place of its - 0.5; see `corrected_third_order`.
StepWeights StochasticDataWeights(const NoiseLevel& s, const NoiseLevel& t, int order,
                                  bool corrected) {
  const double decay = (t.sigma * s.alpha) / (t.alpha * s.sigma);  // e^-h
  StepWeights weights{.state = t.sigma / s.sigma * decay,
                      .d0 = t.alpha * (1 - decay * decay),
                      .noise = t.sigma * std::sqrt(1 - decay * decay)};
  if (order == 1) return weights;
  const double h = t.lambda() - s.lambda();
  weights.d1 = t.alpha * (std::expm1(-2 * h) / (2 * h) + 1);
  const double integral = -(std::expm1(-2 * h) + 2 * h) / (4 * h * h);
  weights.d2 = t.alpha * (integral + (corrected ? 0.5 : -0.5));
  return weights;
}

StepWeights ExactWeights(const NoiseLevel& s, const NoiseLevel& t, int order,
                         const SamplerOptions& options) {
  if (ExpandsNoise(options)) return NoiseWeights(s, t, order);
  if (!IsSdeSolver(options.sampler)) return DataWeights(s, t, order);
  return StochasticDataWeights(s, t, order, options.corrected_third_order);
}

// For a step from `s` to `t`. Order 1 has no d1 and d2, and also holds for a step to no noise,
// where h is infinite.
StepWeights DpmSolverWeights(const NoiseLevel& s, const NoiseLevel& t, int order,
                             const SamplerOptions& options) {
  StepWeights weights = ExactWeights(s, t, order, options);
  // The midpoint form of order 2 has half the weight of D0; Heun's form, and order 3, integrate D1
  // exactly.
  const bool midpoint = ResolvedSolverType(options) == SolverType::kMidpoint;
  if (order == 2 && midpoint) weights.d1 = 0.5 * weights.d0;
  return weights;
}

// h of the step `steps_back` before `step`, over h of `step`.
double StepRatio(const NoisePath& path, size_t step, size_t steps_back) {
  const auto length = [&](size_t i) { return path[i].to.lambda() - path[i].from.lambda(); };
  return length(step - steps_back) / length(step);
}

LinearForm NextMultistepState(const NoisePath& path, size_t step, int order,
                              const StepWeights& weights, const SamplerOptions& options) {
  const LinearForm m0 = ExpandedValue(path[step].from, options);
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
  // published algorithm lacks that 2 and converges with order 2; `corrected_third_order` restores
  // it.
  const double factor = options.corrected_third_order ? 2 : 1;
  const LinearForm d2 = (factor / (r0 + r1)) * (d1_newer - d1_older);
  return next + weights.d1 * d1 + weights.d2 * d2;
}

constexpr int kBlockStart = 1;
constexpr int kHistory = 2;

// The last move starts its own block if its end has no noise (only order 1 exists there) or, with
// lower_order_final, if it would complete a block.
int OrderOfMove(const NoisePath& path, size_t move, const SamplerOptions& options) {
  const size_t order = static_cast<size_t>(options.solver_order);
  const bool last = move + 1 == path.size();
  const bool completes_block = (move + 1) % order == 0;
  const bool lowered = path.back().to.sigma == 0 || (options.lower_order_final && completes_block);
  return last && lowered ? 1 : static_cast<int>(move % order) + 1;
}

// The position of `level` between s and t in lambda: 0 at s, 1 at t.
double Fraction(const NoiseLevel& s, const NoiseLevel& t, const NoiseLevel& level) {
  return (level.lambda() - s.lambda()) / (t.lambda() - s.lambda());
}

// The derivatives at the block's start come from divided differences over the block.
LinearForm NextSinglestepState(const NoisePath& path, size_t move, int order,
                               const StepWeights& weights, const SamplerOptions& options) {
  const LinearForm newest = ExpandedValue(path[move].from, options);
  if (order == 1) return weights.state * Slot(0) + weights.d0 * newest;

  const NoiseLevel& s = path[move + 1 - order].from;
  const NoiseLevel& t = path[move].to;
  const LinearForm at_start = Slot(order);
  const LinearForm first_order = weights.state * Slot(kBlockStart) + weights.d0 * at_start;
  const double r_newest = Fraction(s, t, path[move].from);
  const LinearForm to_newest = (newest - at_start) / r_newest;
  const bool heun = ResolvedSolverType(options) == SolverType::kHeun;
  if (order == 2 || !heun) return first_order + weights.d1 * to_newest;

  const double r_middle = Fraction(s, t, path[move - 1].from);
  const LinearForm to_middle = (Slot(kHistory) - at_start) / r_middle;
  const double spread = r_newest - r_middle;
  const LinearForm d1 = (r_newest / spread) * to_middle - (r_middle / spread) * to_newest;
  const LinearForm d2 = (2 / spread) * (to_newest - to_middle);
  return first_order + weights.d1 * d1 + weights.d2 * d2;
}

}  // namespace

SamplerPlan CompileDpmSolver(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartPlan(path, options.solver_order);
  for (size_t step = 0; step < path.size(); ++step) {
    Evaluation evaluation = StartEvaluation(path[step], options);
    const int order = MultistepOrder(path, step, options);
    const StepWeights weights = DpmSolverWeights(path[step].from, path[step].to, order, options);

    std::vector<LinearForm> slots = {NextMultistepState(path, step, order, weights, options)};
    if (plan.slots > 1) slots.push_back(ExpandedValue(path[step].from, options));
    for (int slot = 2; slot < plan.slots; ++slot) slots.push_back(Slot(slot - 1));

    evaluation.update = UpdateMatrix(slots);
    evaluation.noise = weights.noise;
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

SamplerPlan CompileDpmSolverSinglestep(const NoisePath& path, const SamplerOptions& options) {
  const int slots = options.solver_order == 1 ? 1 : options.solver_order + 1;
  SamplerPlan plan = StartPlan(path, slots);
  for (size_t move = 0; move < path.size(); ++move) {
    const int order = OrderOfMove(path, move, options);
    const StepWeights weights =
        DpmSolverWeights(path[move + 1 - order].from, path[move].to, order, options);
    std::vector<LinearForm> next = {NextSinglestepState(path, move, order, weights, options)};
    if (slots > 1) next.push_back(order == 1 ? Slot(0) : Slot(kBlockStart));
    if (slots > kHistory) next.push_back(ExpandedValue(path[move].from, options));
    if (slots > kHistory + 1) next.push_back(Slot(kHistory));

    Evaluation evaluation = StartEvaluation(path[move], options);
    evaluation.update = UpdateMatrix(next);
    evaluation.noise = weights.noise;
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
