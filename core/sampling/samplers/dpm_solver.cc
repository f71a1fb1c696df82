// DPM-Solver (Lu et al. 2022a) and DPM-Solver++ (Lu et al. 2022b), multistep, of order 1 to 3.
//
// Every step expands around its start in backward differences over the steps before it.
//
// Slot 0 is x; slot j is the prediction j steps ago.
#include "core/sampling/samplers/dpm_solver_step.h"
#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

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
    const int order = MultistepOrder(path, step, options);
    const StepWeights weights = DpmSolverWeights(path[step].from, path[step].to, order, options);

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
