// Pseudo numerical methods for diffusion models (Liu et al. 2022, section 3): classical methods for
// ordinary differential equations, each move replaced by one along the forward process.
//
// The noise of several evaluations is combined like the slopes of a Runge-Kutta method (PRK) or a
// linear multistep method (PLMS, Adams-Bashforth); x then moves like in DDIM with that noise. PRK
// takes four evaluations per step and fills the history that PLMS needs. Without PRK the first step
// of PLMS is Heun's.
//
// Slot 0 is x. Slot 1 is x at the start of a step with several evaluations. Slots 2 to 4 are the
// noises predicted at the starts of the last three steps. Slot 5, in PRK, accumulates its four.
#include <algorithm>
#include <vector>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

constexpr int kStart = 1;
constexpr int kHistory = 2;
constexpr int kSum = 5;
constexpr int kPlmsSlots = 5;
constexpr int kPrkSlots = 6;
constexpr int kOrder = 4;

// The paper's transfer part: moves along the forward process from one level to another with this
// noise.
LinearForm Transfer(const LinearForm& x, const LinearForm& noise, const NoiseLevel& from,
                    const NoiseLevel& to) {
  return (to.alpha / from.alpha) * x + (to.sigma - to.alpha * from.ratio()) * noise;
}

// The Adams-Bashforth method of `order`, from `newest` back.
LinearForm AdamsBashforth(const LinearForm& newest, int order) {
  static constexpr double kWeights[kOrder][kOrder] = {
      {1, 0, 0, 0},
      {3 / 2.0, -1 / 2.0, 0, 0},
      {23 / 12.0, -16 / 12.0, 5 / 12.0, 0},
      {55 / 24.0, -59 / 24.0, 37 / 24.0, -9 / 24.0}};
  LinearForm sum = kWeights[order - 1][0] * newest;
  for (int back = 1; back < order; ++back)
    sum += kWeights[order - 1][back] * Slot(kHistory + back - 1);
  return sum;
}

// The slots after an evaluation.
struct Remembered {
  LinearForm x;
  LinearForm start;            // nothing between steps
  LinearForm sum;              // nothing outside PRK
  bool keeps_history = false;  // false: the noise just predicted becomes part of it
};

void Ask(const Move& at, const Remembered& next, const SamplerOptions& options, SamplerPlan& plan) {
  const LinearForm newest = next.keeps_history ? Slot(kHistory) : NoiseIn(at.from);
  std::vector<LinearForm> slots = {next.x, next.start, newest};
  for (int slot = kHistory + 1; slot < kPlmsSlots; ++slot)
    slots.push_back(Slot(next.keeps_history ? slot : slot - 1));
  if (plan.slots == kPrkSlots) slots.push_back(next.sum);
  Evaluation evaluation = StartEvaluation(at, options);
  evaluation.update = UpdateMatrix(slots);
  plan.evaluations.push_back(std::move(evaluation));
}

// The classical Runge-Kutta method over the two moves from `first` on, to the middle and to the
// end.
void AddRungeKuttaStep(const NoisePath& path, size_t first, const SamplerOptions& options,
                       SamplerPlan& plan) {
  const Move& start = path[first];
  const Move& middle = path[first + 1];
  const Move end = EndOf(middle);
  const auto from_start = [&](const LinearForm& noise, const NoiseLevel& to) {
    return Transfer(Slot(kStart), noise, start.from, to);
  };
  const LinearForm e1 = NoiseIn(start.from), e2 = NoiseIn(middle.from), e4 = NoiseIn(end.from);
  const LinearForm to_middle = Transfer(Slot(0), e1, start.from, middle.from);
  const LinearForm sum = Slot(kSum), x = Slot(kStart);
  Ask(start, {.x = to_middle, .start = Slot(0), .sum = e1 / 6}, options, plan);
  for (const NoiseLevel& to : {middle.from, end.from}) {
    Ask(middle, {.x = from_start(e2, to), .start = x, .sum = sum + e2 / 3, .keeps_history = true},
        options, plan);
  }
  Ask(end, {.x = from_start(sum + e4 / 6, end.from), .keeps_history = true}, options, plan);
  for (size_t i = plan.evaluations.size() - 4; i + 1 < plan.evaluations.size(); ++i)
    plan.evaluations[i].ends_step = false;
}

void AddHeunStep(const NoisePath& path, const SamplerOptions& options, SamplerPlan& plan) {
  const Move& move = path[0];
  const LinearForm predicted = Transfer(Slot(0), NoiseIn(move.from), move.from, move.to);
  Ask(move, {.x = predicted, .start = Slot(0)}, options, plan);
  plan.evaluations.back().ends_step = false;
  const Move end = EndOf(move);
  const LinearForm mean = 0.5 * (Slot(kHistory) + NoiseIn(end.from));
  const LinearForm corrected = Transfer(Slot(kStart), mean, move.from, move.to);
  Ask(end, {.x = corrected, .keeps_history = true}, options, plan);
}

}  // namespace

SamplerPlan CompilePndm(const NoisePath& path, const SamplerOptions& options) {
  const bool prk = options.sampler == SamplerKind::kPndm;
  SamplerPlan plan = StartPlan(path, prk ? kPrkSlots : kPlmsSlots);
  const size_t prk_steps = prk ? std::min(kPrkSteps, path.size() / 2) : 0;
  for (size_t step = 0; step < prk_steps; ++step) AddRungeKuttaStep(path, 2 * step, options, plan);
  const bool heun = !prk && path.size() > 1;
  if (heun) AddHeunStep(path, options, plan);
  size_t known = heun ? 1 : prk_steps;  // noises in the history
  for (size_t i = heun ? 1 : 2 * prk_steps; i < path.size(); ++i, ++known) {
    const int order = static_cast<int>(std::min<size_t>(kOrder, known + 1));
    const LinearForm noise = AdamsBashforth(NoiseIn(path[i].from), order);
    Ask(path[i], {.x = Transfer(Slot(0), noise, path[i].from, path[i].to)}, options, plan);
  }
  return plan;
}

}  // namespace denoise
