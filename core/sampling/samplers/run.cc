#include "core/sampling/samplers/run.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

absl::Status CheckRange(const RunOptions& run, int steps) {
  FieldViolations violations;
  if (!(run.strength > 0 && run.strength <= 1)) {
    violations.Add("strength", absl::StrCat("must be above 0 and at most 1, is ", run.strength));
  } else if (steps * run.strength < 1) {
    violations.Add("strength", absl::StrCat("leaves none of ", steps, " steps; must be at least ",
                                            1.0 / steps));
  }
  if (run.first_step < 0 || run.first_step >= steps) {
    violations.Add("first_step",
                   absl::StrCat("must be between 0 and ", steps - 1,
                                ", which leaves one step to take, is ", run.first_step));
  }
  if (run.first_step > 0 && run.strength != 1) {
    violations.Add("first_step", "goes with a strength of 1 only");
  }
  if (run.jump_length < 1) {
    violations.Add("jump_length", absl::StrCat("must be at least 1, is ", run.jump_length));
  }
  if (run.resamples < 1) {
    violations.Add("resamples", absl::StrCat("must be at least 1, is ", run.resamples));
  }
  return violations.ToStatus();
}

absl::Status CheckPart(const RunOptions& run) {
  FieldViolations violations;
  if (!(run.denoising_start >= 0 && run.denoising_start < 1)) {
    violations.Add("denoising_start",
                   absl::StrCat("must be at least 0 and below 1, is ", run.denoising_start));
  } else if (run.denoising_start > 0 && (run.strength != 1 || run.first_step > 0)) {
    violations.Add("denoising_start",
                   "goes with a strength of 1 and no first_step: all say where the run begins");
  }
  if (!(run.denoising_end > run.denoising_start && run.denoising_end <= 1)) {
    violations.Add("denoising_end", absl::StrCat("must be above denoising_start and at most 1, is ",
                                                 run.denoising_end));
  }
  return violations.ToStatus();
}

int StepsToTake(const RunOptions& run, int steps) {
  return std::min(static_cast<int>(steps * run.strength), steps - run.first_step);
}

// How many places a run of `steps` steps jumps back from: those with 0, 1, 2 ... times jump_length
// remaining steps, if more than jump_length steps have been taken.
int64_t JumpPlaces(const RunOptions& run, int steps) {
  if (steps <= run.jump_length) return 0;
  return (int64_t{steps} - 1) / run.jump_length;
}

absl::Status CheckTotal(const RunOptions& run, int steps) {
  const double total = steps + 1.0 * JumpPlaces(run, steps) * run.jump_length * (run.resamples - 1);
  if (total <= run.max_steps) return absl::OkStatus();
  return InvalidField("resamples", absl::StrCat("makes ", total, " steps of ", steps, "; at most ",
                                                run.max_steps, " are allowed"));
}

// Whether `sampler` applies lower_order_final to short runs only.
bool LowersShortRuns(SamplerKind sampler) {
  return SamplerReads(sampler, "lower_order_final") && !IsSinglestep(sampler) &&
         sampler != SamplerKind::kUniPc;
}

// Adjusts options that count steps for a run without its first ones. As in the library, whether a
// run is short depends on the steps of the whole.
SamplerOptions OptionsFrom(int first, size_t steps, SamplerOptions options) {
  if (LowersShortRuns(options.sampler) && steps >= kFewSteps) options.lower_order_final = false;
  options.s_churn *= static_cast<double>(steps - first) / static_cast<double>(steps);
  std::vector<int> disabled;
  for (int step : options.disable_corrector) {
    if (step >= first) disabled.push_back(step - first);
  }
  options.disable_corrector = std::move(disabled);
  return options;
}

SamplerPlan CompileFrom(int first, const NoisePath& path, const SamplerOptions& options) {
  return CompilePath(NoisePath(path.begin() + first, path.end()),
                     OptionsFrom(first, path.size(), options));
}

// The evaluations of the first `steps` steps.
size_t CountEvaluations(const SamplerPlan& plan, int steps) {
  size_t evaluations = 0;
  for (; steps > 0; ++evaluations) steps -= plan.evaluations[evaluations].ends_step;
  return evaluations;
}

int CountNoiseDraws(const SamplerPlan& plan, size_t evaluations) {
  return static_cast<int>(
      std::count_if(plan.evaluations.begin(), plan.evaluations.begin() + evaluations, AddsNoise));
}

// Moves slot 0 from the level after `last` to `target`, which has more noise. Variances add.
absl::Status JumpBack(const NoiseLevel& reached, const NoiseLevel& target, Evaluation& last) {
  const double* deviation = std::get_if<double>(&last.noise);
  if (deviation == nullptr) {
    return InvalidField("variance_type", "must be fixed where a run jumps back to noise");
  }
  const double shrink = target.alpha / reached.alpha;
  const double added = target.sigma * target.sigma - std::pow(shrink * reached.sigma, 2);
  for (int column = 0; column < last.update.columns(); ++column) last.update(0, column) *= shrink;
  last.noise = std::sqrt(std::pow(shrink * *deviation, 2) + std::max(added, 0.0));
  return absl::OkStatus();
}

// DDIM's step with eta 0 from the end of `move` to its start: the signal in `x` and its noise
// `epsilon` are both scaled to the new level (Song et al. 2021, eq. 12 with the two levels
// exchanged).
LinearForm Undo(const Move& move, const LinearForm& x, const LinearForm& epsilon) {
  return move.from.alpha / move.to.alpha * (x - move.to.sigma * epsilon) +
         move.from.sigma * epsilon;
}

absl::Status CheckInvertible(const SamplerOptions& options) {
  if (options.sampler != SamplerKind::kDdim && options.sampler != SamplerKind::kEuler) {
    return InvalidField("sampler", "must be ddim or euler to be inverted");
  }
  FieldViolations violations;
  if (options.sampler == SamplerKind::kDdim && options.eta != 0) {
    violations.Add("eta", "must be 0 to be inverted");
  }
  if (options.sampler == SamplerKind::kEuler && options.s_churn != 0) {
    violations.Add("s_churn", "must be 0 to be inverted");
  }
  return violations.ToStatus();
}

}  // namespace

absl::StatusOr<Segment> PartBetween(const RunOptions& run, const NoisePath& path,
                                    int num_train_timesteps) {
  RETURN_IF_ERROR(CheckPart(run));
  const auto steps_before = [&](double part) {
    const double cutoff = std::nearbyint(num_train_timesteps * (1 - part));
    return static_cast<int>(std::count_if(
        path.begin(), path.end(), [&](const Move& move) { return move.timestep >= cutoff; }));
  };
  const Segment between = {steps_before(run.denoising_start), steps_before(run.denoising_end)};
  if (between.first < between.last) return between;
  return InvalidField(run.denoising_start > 0 ? "denoising_start" : "denoising_end",
                      absl::StrCat("leaves none of ", path.size(), " steps"));
}

absl::StatusOr<std::vector<Segment>> LayOutRun(const RunOptions& run, int steps) {
  RETURN_IF_ERROR(CheckRange(run, steps));
  const int taken = StepsToTake(run, steps);
  RETURN_IF_ERROR(CheckTotal(run, taken));

  std::vector<Segment> segments;
  int next = steps - taken;
  std::map<int, int> passes;  // by the steps to go
  for (int to_go = taken - 1; to_go >= 0; --to_go) {
    const bool place = to_go % run.jump_length == 0 && to_go + run.jump_length < taken;
    if (!place || ++passes[to_go] >= run.resamples) continue;
    segments.push_back({next, steps - to_go});
    to_go += run.jump_length;
    next = steps - to_go;
  }
  segments.push_back({next, steps});
  return segments;
}

// A segment is compiled as the beginning of the rest of the path, so that its last step is no
// special case.
absl::StatusOr<SamplerPlan> CompileSegments(const NoisePath& path, const SamplerOptions& options,
                                            const std::vector<Segment>& segments) {
  DENOISE_DCHECK(!segments.empty());
  const int first = segments.front().first;
  SamplerPlan rest = CompileFrom(first, path, options);
  int rest_from = first;
  SamplerPlan plan = rest;
  plan.evaluations.clear();
  for (const Segment& segment : segments) {
    DENOISE_DCHECK(segment.first < segment.last);
    if (segment.first != rest_from) {
      rest = CompileFrom(segment.first, path, options);
      rest_from = segment.first;
    }
    if (!plan.evaluations.empty()) {
      const Evaluation& start = rest.evaluations.front();
      RETURN_IF_ERROR(JumpBack({plan.final_alpha, plan.final_sigma}, {start.alpha, start.sigma},
                               plan.evaluations.back()));
    }
    const size_t count = CountEvaluations(rest, segment.last - segment.first);
    plan.evaluations.insert(plan.evaluations.end(), rest.evaluations.begin(),
                            rest.evaluations.begin() + count);
    const NoiseLevel reached = rest.LevelAfter(count - 1);
    plan.final_alpha = reached.alpha;
    plan.final_sigma = reached.sigma;
  }
  plan.first_step = first;
  plan.jumps = static_cast<int>(segments.size()) - 1;
  if (first > 0) {
    const SamplerPlan whole = CompilePath(path, options);
    plan.draws_left_out = CountNoiseDraws(whole, CountEvaluations(whole, first));
  }
  return plan;
}

// DDIM's step from x_f to x_t uses the noise that the network sees in x_f, but the inverse does not
// know x_f yet: x_f = Undo(x_t, epsilon(x_f)). One iteration towards that fixed point (Pan et al.
// 2023) starts from a guess with the noise of the previous step. Slot 0 is the guess, slot 1 is
// x_t. The first step has no previous noise and evaluates the picture itself.
absl::StatusOr<SamplerPlan> CompileInversion(const NoisePath& path, const SamplerOptions& options) {
  RETURN_IF_ERROR(CheckInvertible(options));
  NoisePath moves(path.rbegin(), path.rend());
  moves.front().to = {1, 0};  // treats the picture as an end without noise
  // The result is x, but slot 0 of the sampler may be x / alpha.
  const NoiseLevel& start = path.front().from;
  const SamplerPlan forward = CompilePath(path, options);
  const double x_of_noise =
      forward.init_noise_scale * start.sigma / forward.evaluations.front().sigma;

  SamplerPlan plan;
  plan.slots = 2;
  for (size_t step = 0; step < moves.size(); ++step) {
    const Move& move = moves[step];
    Evaluation evaluation = StartEvaluation(move, options);
    evaluation.clip = std::monostate();
    const LinearForm epsilon = (Slot(0) - move.from.alpha * X0()) / move.from.sigma;
    const LinearForm x = Undo(move, step == 0 ? Slot(0) : Slot(1), epsilon);
    const bool last = step + 1 == moves.size();
    evaluation.update =
        UpdateMatrix({last ? x / x_of_noise : Undo(moves[step + 1], x, epsilon), x});
    plan.evaluations.push_back(std::move(evaluation));
  }
  plan.evaluations.front().alpha = 1;
  plan.evaluations.front().sigma = 0;
  plan.final_alpha = start.alpha / x_of_noise;
  plan.final_sigma = start.sigma / x_of_noise;
  return plan;
}

}  // namespace denoise
