#include "server/requests/request_validation.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/samplers/compile_plan.h"
#include "proto/conversion/repeated_counts.h"
#include "proto/conversion/sampler_proto.h"
#include "server/requests/adapter_validation.h"
#include "server/requests/conditioning_validation.h"
#include "server/requests/field_checks.h"
#include "server/requests/priority.h"
#include "server/requests/prompt_validation.h"
#include "server/requests/sampler_conversion.h"
#include "server/requests/size_validation.h"
#include "server/requests/start_validation.h"

namespace denoise {
namespace {

using denoised::v1::Encoding;
using denoised::v1::GenerateRequest;

int Count(const GenerateRequest& request) { return request.has_count() ? request.count() : 1; }

// What an inversion ends with is no picture.
Encoding ImageEncoding(const GenerateRequest& request) {
  return request.start().has_inversion() ? denoised::v1::ENCODING_RAW_FLOAT32
                                         : OrPng(request.image_encoding());
}

void CheckFrameKinds(const denoised::v1::FramePolicy& frames, FieldViolations& violations) {
  std::set<int> seen;
  for (int i = 0; i < frames.kinds_size(); ++i) {
    const std::string field = absl::StrCat("frames.kinds[", i, "]");
    const int kind = frames.kinds(i);
    if (!denoised::v1::FrameKind_IsValid(kind)) {
      violations.Add(field, absl::StrCat("unknown value ", kind));
    } else if (kind == denoised::v1::FRAME_KIND_UNSPECIFIED) {
      violations.Add(field, "must be X_T or X0");
    } else if (!seen.insert(kind).second) {
      violations.Add(field, "is given twice");
    }
  }
}

void CheckFrames(const denoised::v1::FramePolicy& frames, const RequestLimits& limits,
                 FieldViolations& violations) {
  if (frames.every_n_steps() < 1) {
    violations.Add("frames.every_n_steps",
                   absl::StrCat("must be at least 1, is ", frames.every_n_steps()));
  }
  CheckFrameKinds(frames, violations);
  CheckEncoding("frames.encoding", frames.encoding(), violations);
  if (frames.max_bytes() < 0 || frames.max_bytes() > limits.max_frame_bytes) {
    violations.Add("frames.max_bytes",
                   absl::StrCat("must be between 0 and ", limits.max_frame_bytes, ", is ",
                                frames.max_bytes()));
  }
}

void CheckSharing(const GenerateRequest& request, FieldViolations& violations) {
  if (!denoised::v1::Priority_IsValid(request.priority())) {
    violations.Add("priority",
                   absl::StrCat("unknown value ", static_cast<int>(request.priority())));
  }
  if (!request.allow_fewer_steps()) return;
  if (!request.sampler().timesteps().empty() || !request.sampler().sigmas().empty()) {
    violations.Add("allow_fewer_steps",
                   "must be false with sampler.timesteps or sampler.sigmas, which are the steps");
  }
  if (request.on_disconnect() == denoised::v1::ON_DISCONNECT_DETACH) {
    violations.Add("allow_fewer_steps",
                   "must be false with DETACH: the deadline ends the call, not the generation");
  }
}

// What can be said without the model.
void CheckAlone(const GenerateRequest& request, const RequestLimits& limits,
                FieldViolations& violations) {
  CheckModelName(request.model(), violations);
  if (Count(request) < 1 || Count(request) > limits.max_images) {
    violations.Add("count", absl::StrCat("must be between 1 and ", limits.max_images, ", is ",
                                         request.count()));
  }
  if (request.has_guidance()) CheckGuidance(request.guidance(), violations);
  if (request.has_frames()) CheckFrames(request.frames(), limits, violations);
  CheckEncoding("image_encoding", request.image_encoding(), violations);
  CheckStart(request, violations);
  CheckRequestId(request.request_id(), violations);
  CheckAdapters(request, violations);
  CheckSharing(request, violations);
  if (!denoised::v1::OnDisconnect_IsValid(request.on_disconnect())) {
    violations.Add("on_disconnect",
                   absl::StrCat("unknown value ", static_cast<int>(request.on_disconnect())));
  }
}

void CheckPictures(const GenerateRequest& request, const SampleShape& picture,
                   const RequestLimits& limits, FieldViolations& violations) {
  CheckPixels("count", Count(request), picture, limits, violations);
  CheckHoldsChannels("image_encoding", ImageEncoding(request), picture.channels, violations);
  if (request.has_frames()) {
    CheckHoldsChannels("frames.encoding", OrPng(request.frames().encoding()), picture.channels,
                       violations);
  }
}

// What only the model can say.
void CheckAgainstModel(const GenerateRequest& request, const Model& model,
                       const SampleShape& picture, const RequestLimits& limits,
                       FieldViolations& violations) {
  CheckConditioning(request, model, limits, violations);
  if (request.adapters_size() > 0 && model.adapters == nullptr) {
    violations.Add("adapters", "must be absent: this model takes no adapters");
  }
  CheckPictures(request, picture, limits, violations);
}

// The core names parts of the run, which are fields elsewhere, and some options that come from the
// checkpoint and are no fields; a violation of those is the sampler's: it does not suit the model.
void AddSamplerViolations(const absl::Status& status, FieldViolations& violations) {
  const auto* fields = denoised::v1::SamplerOptions::descriptor();
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    const std::string name = violation.field.substr(0, violation.field.find('['));
    if (const std::string_view field = FieldOfRun(name); !field.empty()) {
      violations.Add(field, violation.description);
    } else if (fields->FindFieldByName(name) != nullptr) {
      violations.Add("sampler." + violation.field, violation.description);
    } else {
      violations.Add("sampler.sampler",
                     "does not suit this model: " + violation.field + ": " + violation.description);
    }
  }
}

// Nothing where something is in violation.
std::shared_ptr<const SamplerPlan> ResolvePlan(const ResolvedSampler& sampler,
                                               const RunOptions& run, const Model& model,
                                               FieldViolations& violations) {
  AddSamplerViolations(sampler.violations, violations);
  absl::StatusOr<SamplerPlan> plan = CompilePlan(model.schedule, sampler.options, run);
  if (!plan.ok()) {
    AddSamplerViolations(plan.status(), violations);
    return nullptr;
  }
  if (plan->NeedsLearnedVariance() && model.spec.out_channels != 2 * model.spec.sample.channels) {
    violations.Add("sampler.variance_type", "must be fixed: this model predicts no variance");
    return nullptr;
  }
  return std::make_shared<const SamplerPlan>(*std::move(plan));
}

// An inversion has no clips: what the model has by default is left out, what is asked for refused.
void LeaveOutClipping(const denoised::v1::SamplerOptions& request, ResolvedSampler& sampler,
                      FieldViolations& violations) {
  constexpr char kAbsent[] = "must be absent: an inversion leaves out clipping";
  if (request.clip_sample()) violations.Add("sampler.clip_sample", kAbsent);
  if (request.thresholding()) violations.Add("sampler.thresholding", kAbsent);
  sampler.options.clip_sample = sampler.options.thresholding = false;
}

FrameOptions ResolveFrames(const GenerateRequest& request) {
  FrameOptions frames;
  if (!request.has_frames()) return frames;
  frames.every_n_steps = request.frames().every_n_steps();
  frames.skip_last = request.frames().skip_last();
  frames.as_pictures = request.frames().encoding() != denoised::v1::ENCODING_RAW_FLOAT32;
  if (request.frames().kinds().empty()) return frames;
  frames.kinds.clear();
  for (const int kind : request.frames().kinds()) {
    frames.kinds.push_back(kind == denoised::v1::FRAME_KIND_X_T ? FrameKind::kXt : FrameKind::kX0);
  }
  return frames;
}

int FrameBytesMax(const denoised::v1::FramePolicy& frames, const RequestLimits& limits) {
  return frames.max_bytes() == 0 ? limits.max_frame_bytes : frames.max_bytes();
}

// As requested, defaults filled in.
denoised::v1::FramePolicy ResolveFramePolicy(const denoised::v1::FramePolicy& requested,
                                             const RequestLimits& limits) {
  denoised::v1::FramePolicy frames = requested;
  if (frames.kinds().empty()) frames.add_kinds(denoised::v1::FRAME_KIND_X0);
  frames.set_encoding(OrPng(requested.encoding()));
  frames.set_max_bytes(FrameBytesMax(requested, limits));
  return frames;
}

denoised::v1::Accepted ResolveAccepted(const GenerateRequest& request, const Model& model,
                                       const GenerationRequest& generation,
                                       const SamplerOptions& options, const RequestLimits& limits) {
  denoised::v1::Accepted accepted;
  accepted.set_model(ModelName(model.id));
  accepted.set_model_version(model.version);
  accepted.set_seed(generation.seed);
  accepted.set_count(generation.count);
  *accepted.mutable_sampler() = SamplerToProto(EffectiveOverrides(options));
  for (const Evaluation& evaluation : generation.plan->evaluations) {
    accepted.add_timesteps(evaluation.timestep);
  }
  accepted.set_steps(generation.plan->NumSteps());
  accepted.set_evaluations(static_cast<int32_t>(generation.plan->evaluations.size()));
  if (request.has_guidance()) {
    *accepted.mutable_guidance() = request.guidance();
  } else if (model.guidance_scale != 1) {
    accepted.mutable_guidance()->set_scale(model.guidance_scale);
  }
  for (const auto& [condition, weight] : generation.conditioning.conditions) {
    if (!condition->class_label) continue;
    auto& proto = *accepted.add_class_weights();
    proto.set_class_label(static_cast<int32_t>(*condition->class_label));
    proto.set_weight(weight);
  }
  accepted.set_first_step(generation.plan->first_step);
  accepted.set_priority(ToProto(generation.priority));
  if (request.has_frames()) {
    *accepted.mutable_frames() = ResolveFramePolicy(request.frames(), limits);
  }
  return accepted;
}

void AddPrompts(const GenerateRequest& request, const ResolvedPrompts& prompts,
                denoised::v1::Accepted& accepted) {
  *accepted.mutable_prompt() = prompts.prompt;
  if (prompts.negative_prompt) *accepted.mutable_negative_prompt() = *prompts.negative_prompt;
  accepted.set_prompt_syntax(request.prompt_syntax() == denoised::v1::PROMPT_SYNTAX_UNSPECIFIED
                                 ? denoised::v1::PROMPT_SYNTAX_WEIGHTED
                                 : request.prompt_syntax());
  accepted.set_clip_skip(request.clip_skip());
  if (prompts.sizes) *accepted.mutable_size_conditioning() = *prompts.sizes;
}

int RowSize(const SampleShape& shape, const SampleShape& own) {
  return static_cast<int>(std::max<int64_t>(1, (shape.numel() + own.numel() - 1) / own.numel()));
}

// What a request asks for besides pictures, which take time to decode.
struct Settings {
  SampleShape shape;
  SampleShape picture;  // the shape of its images
  ResolvedPrompts prompts;
  ResolvedSampler sampler;
  std::shared_ptr<const SamplerPlan> plan;
};

absl::StatusOr<Settings> ResolveSettings(const GenerateRequest& request, const Model& model,
                                         const RequestLimits& limits,
                                         const AppliedAdapters& adapters,
                                         FieldViolations& violations) {
  Settings settings;
  settings.shape = ResolveShape(request, model, limits, violations);
  settings.picture = PictureShapeOf(model, settings.shape);
  CheckAgainstModel(request, model, settings.picture, limits, violations);
  if (model.prompts != nullptr) {
    settings.prompts = ResolvePrompts(request, model, settings.picture,
                                      ResolveGuidance(request, model), adapters, violations);
  } else {
    CheckNoPrompts(request, violations);
  }
  settings.sampler = ResolveSampler(request.sampler(), model, limits.max_steps);
  if (request.start().has_inversion()) {
    LeaveOutClipping(request.sampler(), settings.sampler, violations);
  }
  settings.plan = ResolvePlan(settings.sampler, ResolveRun(request, limits), model, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  return settings;
}

}  // namespace

absl::Status CheckRequest(const GenerateRequest& request, absl::StatusOr<ModelHandle> requested,
                          const RequestLimits& limits) {
  FieldViolations violations;
  CheckAlone(request, limits, violations);
  ASSIGN_OR_RETURN(const ModelHandle model, FoundModel(std::move(requested), violations));
  return ResolveSettings(request, *model, limits, /*adapters=*/{}, violations).status();
}

absl::StatusOr<ResolvedRequest> ResolveRequest(const GenerateRequest& request,
                                               absl::StatusOr<ModelHandle> requested,
                                               const RequestLimits& limits, uint64_t seed,
                                               const RequestedAdapters& adapters) {
  FieldViolations violations;
  CheckAlone(request, limits, violations);
  ASSIGN_OR_RETURN(const ModelHandle model, FoundModel(std::move(requested), violations));
  ASSIGN_OR_RETURN(Settings settings,
                   ResolveSettings(request, *model, limits, ToApplied(adapters), violations));
  const SampleShape& picture = settings.picture;
  const InputShapes shapes{.x = settings.shape, .picture = picture};
  Start start = ResolveStart(request, shapes, limits, violations);
  std::optional<Inpainting> inpainting = ResolveInpainting(request, shapes, limits, violations);
  RETURN_IF_ERROR(violations.ToStatus());

  ResolvedRequest resolved{
      .model = model,
      .picture = picture,
      .generation = {.model = ModelName(model->id),
                     .shape = settings.shape,
                     .row_size = RowSize(settings.shape, model->spec.sample),
                     .plan = std::move(settings.plan),
                     .conditioning = model->prompts != nullptr
                                         ? std::move(settings.prompts.conditioning)
                                         : ResolveConditioning(request, *model),
                     .seed = request.has_seed() ? request.seed() : seed,
                     .count = Count(request),
                     .frames = ResolveFrames(request),
                     .start = std::move(start),
                     .inpainting = std::move(inpainting),
                     .decode = !request.start().has_inversion(),
                     .priority = FromProto(request.priority())},
      .image_encoding = ImageEncoding(request),
      .frame_encoding = OrPng(request.frames().encoding()),
      .frame_bytes_max = FrameBytesMax(request.frames(), limits),
      .accepted = {},
  };
  resolved.accepted =
      ResolveAccepted(request, *model, resolved.generation, settings.sampler.options, limits);
  resolved.accepted.set_height(static_cast<int32_t>(picture.height));
  resolved.accepted.set_width(static_cast<int32_t>(picture.width));
  AddAdapters(adapters, resolved.accepted);
  if (model->prompts != nullptr) AddPrompts(request, settings.prompts, resolved.accepted);
  return resolved;
}

// Evaluations grow with the steps about in proportion, so the first guess is close.
std::optional<int> StepsWithin(const GenerateRequest& request, const Model& model,
                               const RequestLimits& limits, const RequestedAdapters& adapters,
                               int evaluations_max) {
  const AppliedAdapters applied = ToApplied(adapters);
  GenerateRequest fewer = request;
  const auto evaluations = [&](int steps) -> std::optional<int> {
    fewer.mutable_sampler()->set_steps(steps);
    FieldViolations violations;
    const auto settings = ResolveSettings(fewer, model, limits, applied, violations);
    if (!settings.ok()) return std::nullopt;
    return static_cast<int>(settings->plan->evaluations.size());
  };
  const int asked = ResolveSampler(request.sampler(), model, limits.max_steps).options.steps;
  const int all = evaluations(asked).value_or(asked);
  const auto fits = [&](int steps) {
    const auto count = evaluations(steps);
    return count && *count <= evaluations_max;
  };
  int steps = std::min(asked - 1, static_cast<int>(int64_t{asked} * evaluations_max / all) + 1);
  while (steps > 0 && !fits(steps)) --steps;
  while (steps > 0 && steps + 1 < asked && fits(steps + 1)) ++steps;
  return steps > 0 ? std::optional(steps) : std::nullopt;
}

absl::StatusOr<ResolvedPlan> ResolvePlanRequest(const denoised::v1::PlanSamplerRequest& request,
                                                const ModelRepository& models,
                                                const RequestLimits& limits) {
  RETURN_IF_ERROR(CheckRepeatedCounts(request));
  FieldViolations violations;
  CheckModelName(request.model(), violations);
  ASSIGN_OR_RETURN(ModelHandle model, FoundModel(FindModel(request.model(), models), violations));
  ResolvedSampler sampler = ResolveSampler(request.sampler(), *model, limits.max_steps);
  std::shared_ptr<const SamplerPlan> plan = ResolvePlan(sampler, RunOptions(), *model, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  return ResolvedPlan{std::move(model), std::move(sampler.options), std::move(plan)};
}

}  // namespace denoise
