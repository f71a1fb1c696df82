#include "core/sampling/samplers/compile_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/options/sampler_families.h"
#include "core/sampling/options/sampler_validation.h"
#include "core/sampling/samplers/noise_path.h"
#include "core/sampling/samplers/path_layout.h"

namespace denoise {
namespace {

// Coefficients are applied to float32 images.
bool IsUsable(double coefficient) {
  return std::abs(coefficient) <= std::numeric_limits<float>::max();  // false for NaN
}

bool IsUsable(const NoiseScale& noise) {
  if (const double* scale = std::get_if<double>(&noise)) return IsUsable(*scale);
  if (const LearnedRange* range = std::get_if<LearnedRange>(&noise)) {
    return IsUsable(range->log_variance_min) && IsUsable(range->log_variance_max);
  }
  return true;
}

bool IsUsable(const Evaluation& evaluation) {
  bool usable = IsUsable(evaluation.timestep) && IsUsable(evaluation.input_scale) &&
                IsUsable(evaluation.x0_from_state) && IsUsable(evaluation.x0_from_output) &&
                IsUsable(evaluation.noise);
  for (int row = 0; row < evaluation.update.rows(); ++row) {
    for (int column = 0; column < evaluation.update.columns(); ++column) {
      usable = usable && IsUsable(evaluation.update(row, column));
    }
  }
  return usable;
}

// Refuses schedules so extreme that double precision cannot represent a step.
absl::Status CheckCoefficients(const SamplerPlan& plan) {
  if (!IsUsable(plan.init_noise_scale)) {
    return InvalidField("steps",
                        "starts at a noise that is not finite: the schedule is too extreme");
  }
  for (size_t i = 0; i < plan.evaluations.size(); ++i) {
    if (IsUsable(plan.evaluations[i])) continue;
    return InvalidField(
        "steps",
        absl::StrCat(
            "evaluation ", i, ", at timestep ", plan.evaluations[i].timestep,
            ", has a coefficient that is not finite: the noise schedule is too extreme there"));
  }
  return absl::OkStatus();
}

// The path over the schedule, which the request may rescale.
absl::StatusOr<NoisePath> RequestedPath(const Schedule& schedule, const SamplerOptions& options) {
  const VpSchedule* vp = schedule.As<VpSchedule>();
  if (vp == nullptr || !options.rescale_betas_zero_snr.has_value()) {
    return LayOutPath(schedule, options);
  }
  VpOptions requested = vp->options();
  requested.rescale_betas_zero_snr = *options.rescale_betas_zero_snr;
  ASSIGN_OR_RETURN(const Schedule rescaled, Schedule::Create(requested));
  return LayOutPath(rescaled, options);
}

bool IsPart(const RunOptions& run) { return run.denoising_start != 0 || run.denoising_end != 1; }

// `segments` of a run, of which it takes the part that it says.
absl::StatusOr<std::vector<Segment>> PartOf(const std::vector<Segment>& segments,
                                            const RunOptions& run, const NoisePath& path,
                                            const Schedule& schedule,
                                            const SamplerOptions& options) {
  const std::string_view field = run.denoising_end != 1 ? "denoising_end" : "denoising_start";
  if (schedule.As<VpSchedule>() == nullptr || options.timestep_type != TimestepType::kDiscrete) {
    return InvalidField(field, "takes a variance-preserving schedule with discrete timesteps");
  }
  if (segments.size() > 1) return InvalidField("resamples", "must be 1 in a part of a run");
  ASSIGN_OR_RETURN(const Segment part, PartBetween(run, path, schedule.num_train_timesteps()));
  const Segment taken = {std::max(segments.front().first, part.first), part.last};
  if (taken.first >= taken.last) {
    return InvalidField(field, absl::StrCat("ends before the strength lets the run begin, at step ",
                                            taken.first, " of ", path.size()));
  }
  return std::vector<Segment>{taken};
}

absl::StatusOr<SamplerPlan> CompileRun(const Schedule& schedule, const NoisePath& path,
                                       const SamplerOptions& options, const RunOptions& run) {
  if (run.inverted) return CompileInversion(path, options);
  SamplerPlan whole = CompilePath(path, options);
  const int steps = whole.NumSteps();
  ASSIGN_OR_RETURN(std::vector<Segment> segments, LayOutRun(run, steps));
  if (segments == std::vector<Segment>{{0, steps}} && !IsPart(run)) return whole;
  if (static_cast<int>(path.size()) != steps) {
    return InvalidField("sampler",
                        "can neither start midway nor jump back, as some of its steps are two "
                        "moves: pndm (take plms), tcd with eta and heun with s_churn");
  }
  if (IsPart(run)) {
    ASSIGN_OR_RETURN(segments, PartOf(segments, run, path, schedule, options));
    return CompileSegments(path, options, segments);
  }
  const bool from_picture = run.strength < 1 && segments.size() == 1;
  if (from_picture && options.sampler == SamplerKind::kPlms) {
    return CompilePlmsFrom(path, static_cast<size_t>(segments.front().first), options);
  }
  return CompileSegments(path, options, segments);
}

}  // namespace

absl::StatusOr<SamplerPlan> CompilePlan(const Schedule& schedule, const SamplerOptions& options,
                                        const RunOptions& run) {
  FieldViolations violations = ValidateSamplerOptions(options);
  CheckFamily(options, schedule.family(), violations);
  if (SuitsFamily(options.sampler, schedule.family())) {
    violations.AddAll("", ValidateTimesteps(options, schedule).ToStatus());
  }
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const NoisePath path, RequestedPath(schedule, options));
  ASSIGN_OR_RETURN(SamplerPlan plan, CompileRun(schedule, path, options, run));
  RETURN_IF_ERROR(CheckCoefficients(plan));
  return plan;
}

}  // namespace denoise
