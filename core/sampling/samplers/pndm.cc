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

#include "core/base/check.h"
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

// Predicts with `predictor`, then asks the network at the end of `corrector` and takes that move
// with the mean of both noises. Heun's step is one where both are the same move.
void AddHeunStep(const Move& predictor, const Move& corrector, const SamplerOptions& options,
                 SamplerPlan& plan) {
  const LinearForm predicted =
      Transfer(Slot(0), NoiseIn(predictor.from), predictor.from, predictor.to);
  Ask(predictor, {.x = predicted, .start = Slot(0)}, options, plan);
  plan.evaluations.back().ends_step = false;
  const Move end = EndOf(corrector);
  const LinearForm mean = 0.5 * (Slot(kHistory) + NoiseIn(end.from));
  const LinearForm corrected = Transfer(Slot(kStart), mean, corrector.from, corrector.to);
  Ask(end, {.x = corrected, .keeps_history = true}, options, plan);
}

// The steps of `path` from `first` on, with `known` noises in the history.
void AddMultistep(const NoisePath& path, size_t first, size_t known, const SamplerOptions& options,
                  SamplerPlan& plan) {
  for (size_t i = first; i < path.size(); ++i, ++known) {
    const int order = static_cast<int>(std::min<size_t>(kOrder, known + 1));
    const LinearForm noise = AdamsBashforth(NoiseIn(path[i].from), order);
    Ask(path[i], {.x = Transfer(Slot(0), noise, path[i].from, path[i].to)}, options, plan);
  }
}

}  // namespace

SamplerPlan CompilePndm(const NoisePath& path, const SamplerOptions& options) {
  const bool prk = options.sampler == SamplerKind::kPndm;
  SamplerPlan plan = StartPlan(path, prk ? kPrkSlots : kPlmsSlots);
  const size_t prk_steps = prk ? std::min(kPrkSteps, path.size() / 2) : 0;
  for (size_t step = 0; step < prk_steps; ++step) AddRungeKuttaStep(path, 2 * step, options, plan);
  const bool heun = !prk && path.size() > 1;
  if (heun) {
    AddHeunStep(path[0], path[0], options, plan);
    AddMultistep(path, 1, /*known=*/1, options, plan);
  } else {
    AddMultistep(path, 2 * prk_steps, /*known=*/prk_steps, options, plan);
  }
  return plan;
}

SamplerPlan CompilePlmsFrom(const NoisePath& path, size_t left_out, const SamplerOptions& options) {
  DENOISE_DCHECK(left_out > 0 && left_out < path.size());
  SamplerPlan plan = StartPlan(path, kPlmsSlots);
  plan.first_step = static_cast<int>(left_out);
  // The list's entry left_out is the start of step left_out - 1, or of step 1, which it holds
  // twice.
  const Move& first = path[std::max<size_t>(left_out - 1, 1)];
  const Move& corrector = path[left_out - 1];
  AddHeunStep(first, corrector, options, plan);
  AddMultistep(path, left_out + 1, /*known=*/1, options, plan);
  if (left_out + 1 == path.size()) {
    plan.final_alpha = corrector.to.alpha;
    plan.final_sigma = corrector.to.sigma;
  }
  return plan;
}

}  // namespace denoise
