// DPM-Solver (Lu et al. 2022a, algorithms 1 and 2) and DPM-Solver++ (Lu et al. 2022b), singlestep,
// of order 1 to 3.
//
// The path is taken in blocks of as many moves as the order. Each move of a block leads from the
// block's start to the move's own end: the first by a step of order 1, the second of order 2 with
// what the network said since, the third of order 3. So every move ends at an image that can be
// shown, and the order does not rest on what came before the block.
//
// Slot 0 is x, slot 1 is x at the block's start, and slot 1 + j is the prediction j moves ago.
#include "core/sampling/samplers/dpm_solver_step.h"
#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

constexpr int kBlockStart = 1;
constexpr int kHistory = 2;

// The last move starts a block of its own where its end has no noise (only order 1 exists there),
// and, with lower_order_final, where it would complete a block.
int OrderOfMove(const NoisePath& path, size_t move, const SamplerOptions& options) {
  const size_t order = static_cast<size_t>(options.solver_order);
  const bool last = move + 1 == path.size();
  const bool completes_block = (move + 1) % order == 0;
  const bool lowered = path.back().to.sigma == 0 || (options.lower_order_final && completes_block);
  return last && lowered ? 1 : static_cast<int>(move % order) + 1;
}

// Where `level` lies on the way from s to t in lambda: 0 at s, 1 at t.
double Fraction(const NoiseLevel& s, const NoiseLevel& t, const NoiseLevel& level) {
  return (level.lambda() - s.lambda()) / (t.lambda() - s.lambda());
}

// The derivatives at the block's start come from divided differences over the block.
LinearForm NextState(const NoisePath& path, size_t move, int order, const StepWeights& weights,
                     const SamplerOptions& options) {
  const LinearForm newest = ModelValue(path[move].from, options);
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

SamplerPlan CompileDpmSolverSinglestep(const NoisePath& path, const SamplerOptions& options) {
  const int slots = options.solver_order == 1 ? 1 : options.solver_order + 1;
  SamplerPlan plan = StartPlan(path, slots);
  for (size_t move = 0; move < path.size(); ++move) {
    const int order = OrderOfMove(path, move, options);
    const StepWeights weights =
        DpmSolverWeights(path[move + 1 - order].from, path[move].to, order, options);
    std::vector<LinearForm> next = {NextState(path, move, order, weights, options)};
    if (slots > 1) next.push_back(order == 1 ? Slot(0) : Slot(kBlockStart));
    if (slots > kHistory) next.push_back(ModelValue(path[move].from, options));
    if (slots > kHistory + 1) next.push_back(Slot(kHistory));

    Evaluation evaluation = StartEvaluation(path[move], options);
    evaluation.update = UpdateMatrix(next);
    evaluation.noise = weights.noise;
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
