#include "server/requests/diffuse_request.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "proto/conversion/repeated_counts.h"
#include "server/requests/field_checks.h"
#include "server/requests/picture.h"

namespace denoise {
namespace {

using denoised::v1::DiffuseRequest;
using denoised::v1::DiffusionLevel;

// With the picture itself a strip of ten.
constexpr int kDefaultSteps = 9;

// With frames or without.
constexpr size_t kMostStops = 10000;

int Steps(const DiffuseRequest& request) {
  return request.has_steps() ? request.steps() : kDefaultSteps;
}

// What can be said without the model.
void CheckAlone(const DiffuseRequest& request, const RequestLimits& limits,
                FieldViolations& violations) {
  CheckModelName(request.model(), violations);
  if (request.pictures_size() < 1 || request.pictures_size() > limits.max_images) {
    violations.Add("pictures", absl::StrCat("must hold between 1 and ", limits.max_images,
                                            " pictures, holds ", request.pictures_size()));
  }
  if (Steps(request) < 1 || Steps(request) > limits.max_steps) {
    violations.Add(
        "steps", absl::StrCat("must be between 1 and ", limits.max_steps, ", is ", Steps(request)));
  }
  if (request.timesteps_size() > limits.max_steps) {
    violations.Add("timesteps", absl::StrCat("must list at most ", limits.max_steps,
                                             " numbers, lists ", request.timesteps_size()));
  }
  if (request.has_steps() && request.timesteps_size() > 0) {
    violations.Add("steps", "cannot be given together with timesteps");
  }
  if (!denoised::v1::DiffuseMode_IsValid(request.mode())) {
    violations.Add("mode", absl::StrCat("unknown value ", static_cast<int>(request.mode())));
  }
  CheckEncoding("encoding", request.encoding(), violations);
}

void CheckTimesteps(const DiffuseRequest& request, const Schedule& schedule,
                    const RequestLimits& limits, FieldViolations& violations) {
  if (request.timesteps_size() > limits.max_steps) return;  // has been said
  const double min = schedule.timestep_min(), max = schedule.timestep_max();
  for (int i = 0; i < request.timesteps_size(); ++i) {
    const double timestep = request.timesteps(i);
    const std::string field = absl::StrCat("timesteps[", i, "]");
    if (!(timestep >= min && timestep <= max)) {  // NaN is neither
      violations.Add(field, absl::StrCat("must be between ", min, " and ", max, ", is ", timestep));
    } else if (i > 0 && !(schedule.LevelAt(timestep).lambda() <
                          schedule.LevelAt(request.timesteps(i - 1)).lambda())) {
      violations.Add(field, "must be noisier than the one before");
    }
  }
}

DiffusionLevel LevelToProto(const NoiseLevel& level) {
  const double signal = level.alpha * level.alpha, noise = level.sigma * level.sigma;
  DiffusionLevel proto;
  proto.set_alpha(level.alpha);
  proto.set_sigma(level.sigma);
  proto.set_alpha_bar(signal / (signal + noise));
  proto.set_snr(signal / noise);
  return proto;
}

denoised::v1::DiffuseAccepted ResolveAccepted(const Model& model,
                                              const ResolvedDiffusion& resolved) {
  denoised::v1::DiffuseAccepted accepted;
  accepted.set_model(ModelName(model.id));
  accepted.set_model_version(model.version);
  accepted.set_seed(resolved.seed);
  accepted.set_mode(resolved.mode == NoisingMode::kStepByStep
                        ? denoised::v1::DIFFUSE_MODE_STEP_BY_STEP
                        : denoised::v1::DIFFUSE_MODE_CLOSED_FORM);
  *accepted.add_levels() = LevelToProto({1, 0});
  for (const double timestep : resolved.timesteps) {
    DiffusionLevel& level = *accepted.add_levels();
    level = LevelToProto(model.schedule.LevelAt(timestep));
    level.set_timestep(timestep);
  }
  return accepted;
}

}  // namespace

absl::StatusOr<ResolvedDiffusion> ResolveDiffusion(const DiffuseRequest& request,
                                                   const ModelRepository& models,
                                                   const RequestLimits& limits, uint64_t seed) {
  RETURN_IF_ERROR(CheckRepeatedCounts(request));
  FieldViolations violations;
  CheckAlone(request, limits, violations);
  ASSIGN_OR_RETURN(const ModelHandle model,
                   FoundModel(FindModel(request.model(), models), violations));
  CheckTimesteps(request, model->schedule, limits, violations);
  CheckPixels("pictures", request.pictures_size(), model->spec.sample, limits, violations);
  if (!model->codec.is_identity) {
    violations.Add("model", "must be a model that works on pixels; this one denoises latents");
  } else if (!TakesPictures(model->spec.sample)) {
    violations.Add("pictures", absl::StrCat("must be absent: this model's images have ",
                                            model->spec.sample.channels, " channels"));
  }
  RETURN_IF_ERROR(violations.ToStatus());

  ResolvedDiffusion resolved{.model = model,
                             .timesteps = {request.timesteps().begin(), request.timesteps().end()},
                             .mode = request.mode() == denoised::v1::DIFFUSE_MODE_STEP_BY_STEP
                                         ? NoisingMode::kStepByStep
                                         : NoisingMode::kClosedForm,
                             .seed = request.has_seed() ? request.seed() : seed,
                             .encoding = OrPng(request.encoding()),
                             .accepted = {}};
  if (resolved.timesteps.empty()) {
    resolved.timesteps = EvenTimesteps(model->schedule, Steps(request));
  }
  const size_t stops = LayOutNoising(model->schedule, resolved.timesteps, resolved.mode).size();
  if (stops > kMostStops) {
    return InvalidField("mode", absl::StrCat("step by step takes ", stops, " steps; at most ",
                                             kMostStops, " are allowed"));
  }
  resolved.accepted = ResolveAccepted(*model, resolved);
  return resolved;
}

}  // namespace denoise
