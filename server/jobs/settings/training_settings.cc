#include "server/jobs/settings/training_settings.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/data/class_labels.h"
#include "core/sampling/samplers/compile_plan.h"
#include "core/train/objective.h"
#include "proto/conversion/sampler_proto.h"
#include "server/jobs/settings/evaluation_settings.h"
#include "server/jobs/settings/objective_settings.h"

namespace denoise {
namespace {

using denoised::v1::TrainingSettings;

constexpr double kMaxGuidanceScale = 1e4;  // as of Generate
constexpr double kGuidanceScale = 2;
constexpr int kMaxGridPictures = 64;
constexpr int kMaxKeptCheckpoints = 1000;

std::string Field(std::string_view prefix, std::string_view name) {
  return std::string(prefix).append(name);
}

// A network call takes memory for each pixel: too much of that ends the server, not just the job.
void ResolveBatches(const SettingsContext& context, TrainingSettings& settings,
                    FieldViolations& violations) {
  const TrainingOptions defaults;
  const NetworkSpec& spec = context.model.spec;
  const int64_t most =
      std::max<int64_t>(context.max_micro_batch_pixels / (spec.height * spec.width), 1);
  if (!settings.has_batch_size()) settings.set_batch_size(defaults.batch_size);
  if (!settings.has_micro_batch_size()) {
    const int64_t wanted = context.device == at::kCPU ? defaults.micro_batch_size : most;
    settings.set_micro_batch_size(static_cast<int32_t>(
        std::clamp<int64_t>(settings.batch_size(), 1, std::min(wanted, most))));
  }
  if (settings.micro_batch_size() > most) {
    violations.Add("micro_batch_size",
                   absl::StrCat("must be at most ", most, " for pictures of this size, is ",
                                settings.micro_batch_size()));
  }
}

void ResolvePrecision(const SettingsContext& context, TrainingSettings& settings,
                      FieldViolations& violations) {
  if (!TrainingSettings::Precision_IsValid(settings.precision())) {
    violations.Add("precision", "must be one of the precisions");
  }
  if (settings.precision() == TrainingSettings::PRECISION_UNSPECIFIED) {
    settings.set_precision(context.device == at::kCPU ? TrainingSettings::FLOAT32
                                                      : TrainingSettings::BFLOAT16);
  }
  if (settings.precision() == TrainingSettings::FLOAT16 && context.device != at::kCUDA) {
    violations.Add("precision", "FLOAT16 needs a CUDA device: use FLOAT32 or BFLOAT16");
  }
}

void ResolveDuration(const TrainingSettings& settings, FieldViolations& violations) {
  if (!settings.has_max_duration()) return;
  const auto& duration = settings.max_duration();
  if (duration.seconds() < 0 || duration.nanos() < 0 ||
      (duration.seconds() == 0 && duration.nanos() == 0)) {
    violations.Add("max_duration", "must be above 0");
  }
}

void ResolveCheckpoints(TrainingSettings& settings, FieldViolations& violations) {
  constexpr int64_t kEverySteps = 500;
  constexpr int kKeep = 2;
  auto& policy = *settings.mutable_checkpoints();
  if (!policy.has_every_n_steps()) policy.set_every_n_steps(kEverySteps);
  if (!policy.has_keep()) policy.set_keep(kKeep);
  violations.CheckAtLeast("checkpoints.every_n_steps", policy.every_n_steps(), 1);
  violations.CheckRange("checkpoints.keep", policy.keep(), 1, kMaxKeptCheckpoints);
}

void ResolveSamples(const SettingsContext& context, TrainingSettings& settings,
                    FieldViolations& violations) {
  constexpr int64_t kEverySteps = 500;
  constexpr int kCount = 16;
  auto& policy = *settings.mutable_samples();
  if (!policy.has_every_n_steps()) policy.set_every_n_steps(kEverySteps);
  if (!policy.has_count()) policy.set_count(kCount);
  violations.CheckAtLeast("samples.every_n_steps", policy.every_n_steps(), 0);
  violations.CheckRange("samples.count", policy.count(), 1, kMaxGridPictures);
  ResolveSampling("samples.sampler.", context, *policy.mutable_sampler(), violations);
  policy.set_guidance_scale(ResolveGuidance("samples.", policy.has_guidance_scale(),
                                            policy.guidance_scale(), context.model, violations));
}

void ResolveEvaluations(const SettingsContext& context, TrainingSettings& settings,
                        FieldViolations& violations) {
  auto& policy = *settings.mutable_evaluations();
  violations.CheckAtLeast("evaluations.every_n_steps", policy.every_n_steps(), 0);
  auto& evaluation = *policy.mutable_settings();
  if (!evaluation.model().empty()) {
    violations.Add("evaluations.settings.model", "must be empty: it is what is being trained");
  }
  if (!evaluation.dataset().empty()) {
    violations.Add("evaluations.settings.dataset", "must be empty: it is what is trained on");
  }
  if (policy.every_n_steps() > 0) {
    ResolveEvaluationParts("evaluations.settings.", context, evaluation, violations);
  }
}

// What only the core can say of the options.
void CheckOptions(const SettingsContext& context, const TrainingSettings& settings,
                  FieldViolations& violations) {
  const TrainingOptions options = TrainingOptionsOf(settings);
  const absl::Status in_range = ValidateTrainingOptions(options);
  violations.AddAll("", in_range);
  for (const FieldViolation& violation : GetFieldViolations(in_range)) {
    if (violation.field.starts_with("objective.")) return;
  }
  violations.AddAll(
      "objective.",
      Objective::Create(context.model.scheduler, options.objective, context.model.spec).status());
}

ModelClasses ClassesOf(const Model& model) {
  return {.count = model.spec.num_class_embeds,
          .names = model.id2label,
          .null_class_label = model.null_class_label};
}

TrainingPrecision PrecisionOf(TrainingSettings::Precision precision) {
  if (precision == TrainingSettings::BFLOAT16) return TrainingPrecision::kBFloat16;
  if (precision == TrainingSettings::FLOAT16) return TrainingPrecision::kFloat16;
  return TrainingPrecision::kFloat32;
}

}  // namespace

absl::StatusOr<TrainingSettings> ResolveTraining(TrainingSettings settings,
                                                 const SettingsContext& context) {
  FieldViolations violations;
  CheckChannels(settings.has_base_model() ? "base_model" : "new_network", context.model,
                violations);
  CheckClasses("dataset", context, violations);
  if (settings.has_base_model() && context.model.spec.num_class_embeds == 0 &&
      !context.data_set.report().classes().empty()) {
    violations.Add("dataset", "has classes, the network none");
  }
  ResolveObjective(context.model, *settings.mutable_objective(), violations);
  ResolveOptimizer(*settings.mutable_optimizer(), violations);
  ResolveBatches(context, settings, violations);
  ResolvePrecision(context, settings, violations);
  ResolveDuration(settings, violations);
  if (!settings.has_seed()) settings.set_seed(context.seed);
  if (settings.ema_decays().empty()) settings.add_ema_decays(TrainingOptions().ema_decays[0]);
  auto& augmentation = *settings.mutable_augmentation();
  if (!augmentation.has_random_crop_scale()) augmentation.set_random_crop_scale(1);
  if (!settings.has_max_non_finite_steps()) {
    settings.set_max_non_finite_steps(TrainingOptions().max_non_finite_steps);
  }
  ResolveCheckpoints(settings, violations);
  ResolveSamples(context, settings, violations);
  ResolveEvaluations(context, settings, violations);
  CheckOptions(context, settings, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  if (settings.evaluations().every_n_steps() > 0) {
    RETURN_IF_ERROR(CheckFeaturesServed(context, settings.evaluations().settings()));
  }
  return settings;
}

TrainingOptions TrainingOptionsOf(const TrainingSettings& settings) {
  return {.objective = ObjectiveOptionsOf(settings.objective()),
          .optimizer = OptimizerOptionsOf(settings.optimizer()),
          .augmentation = {.horizontal_flip = settings.augmentation().horizontal_flip(),
                           .random_crop_scale = settings.augmentation().random_crop_scale()},
          .max_steps = settings.max_steps(),
          .batch_size = settings.batch_size(),
          .micro_batch_size = settings.micro_batch_size(),
          .seed = settings.seed(),
          .ema_decays = {settings.ema_decays().begin(), settings.ema_decays().end()},
          .precision = PrecisionOf(settings.precision()),
          .max_non_finite_steps = settings.max_non_finite_steps()};
}

absl::StatusOr<PictureOrder> GridOf(const TrainingSettings& settings, const Model& model) {
  const auto& policy = settings.samples();
  PictureOrder order;
  ASSIGN_OR_RETURN(order.plan, PlanOf(policy.sampler(), model));
  order.conditionings =
      SpreadOverClasses(model.spec, model.null_class_label, policy.guidance_scale());
  order.count = policy.count();
  return order;
}

void ResolveSampling(std::string_view prefix, const SettingsContext& context,
                     denoised::v1::SamplerOptions& sampler, FieldViolations& violations) {
  const Model& model = context.model;
  const ResolvedSampler resolved =
      ResolveSampler(sampler, model.scheduler, model.default_sampler, context.max_sampler_steps);
  violations.AddAll(prefix, resolved.violations);
  if (!resolved.violations.ok()) return;
  violations.AddAll(prefix, CompilePlan(model.schedule, resolved.options).status());
  sampler = SamplerToProto(EffectiveOverrides(resolved.options));
}

double ResolveGuidance(std::string_view prefix, bool present, double scale, const Model& model,
                       FieldViolations& violations) {
  const bool can_be_guided = model.null_class_label.has_value();
  if (!present) return can_be_guided ? kGuidanceScale : 1;
  const std::string field = Field(prefix, "guidance_scale");
  if (!std::isfinite(scale) || scale < 0 || scale > kMaxGuidanceScale) {
    violations.Add(field,
                   absl::StrCat("must be between 0 and ", kMaxGuidanceScale, ", is ", scale));
  } else if (scale != 1 && !can_be_guided) {
    violations.Add(field, "must be 1: the network has no class that stands for none");
  }
  return scale;
}

void CheckClasses(std::string_view field, const SettingsContext& context,
                  FieldViolations& violations) {
  if (!context.model.is_class_conditional()) return;
  std::vector<std::string> classes;
  for (const auto& one : context.data_set.report().classes()) classes.push_back(one.display_name());
  const auto labels = MatchClasses(classes, ClassesOf(context.model));
  if (!labels.ok()) violations.Add(field, std::string(labels.status().message()));
}

absl::StatusOr<std::shared_ptr<const DataSet>> WithLabelsOf(const Model& model,
                                                            std::shared_ptr<const DataSet> data) {
  if (!model.is_class_conditional()) return data;
  ASSIGN_OR_RETURN(auto labels, MatchClasses(data->classes(), ClassesOf(model)));
  return Relabelled(std::move(data), std::move(labels));
}

void CheckChannels(std::string_view field, const Model& model, FieldViolations& violations) {
  if (model.spec.in_channels == 1 || model.spec.in_channels == 3) return;
  violations.Add(field, absl::StrCat("makes pictures of ", model.spec.in_channels,
                                     " channels; must be 1 or 3"));
}

absl::StatusOr<std::shared_ptr<const SamplerPlan>> PlanOf(
    const denoised::v1::SamplerOptions& sampler, const Model& model) {
  const ResolvedSampler resolved = ResolveSampler(sampler, model.scheduler, model.default_sampler,
                                                  std::numeric_limits<int>::max());
  RETURN_IF_ERROR(resolved.violations);
  ASSIGN_OR_RETURN(SamplerPlan plan, CompilePlan(model.schedule, resolved.options));
  return std::make_shared<const SamplerPlan>(std::move(plan));
}

}  // namespace denoise
