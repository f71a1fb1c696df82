#include "server/jobs/settings/training_settings.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/train/objective.h"
#include "server/jobs/settings/evaluation_settings.h"
#include "server/jobs/settings/setting_table.h"

namespace denoise {
namespace {

using denoised::v1::Optimizer;
using denoised::v1::TrainingSettings;
using ObjectiveSettings = denoised::v1::Objective;

constexpr int kMaxGridPictures = 64;
constexpr int kMaxKeptCheckpoints = 1000;
constexpr double kLabelDropout = 0.1;

// A number that the objective reads only with one of its choices.
struct ObjectiveSetting {
  Setting<ObjectiveOptions> setting;
  bool (*is_read)(const ObjectiveSettings& objective);
  const char* goes_with;
};
constexpr ObjectiveSetting kObjectiveSettings[] = {
    {{"vlb_weight", &ObjectiveOptions::vlb_weight},
     [](const ObjectiveSettings& o) { return o.loss() == ObjectiveSettings::HYBRID; },
     "goes with the loss HYBRID"},
    {{"min_snr_gamma", &ObjectiveOptions::min_snr_gamma},
     [](const ObjectiveSettings& o) { return o.weighting() == ObjectiveSettings::MIN_SNR; },
     "goes with the weighting MIN_SNR"},
    {{"p2_gamma", &ObjectiveOptions::p2_gamma},
     [](const ObjectiveSettings& o) { return o.weighting() == ObjectiveSettings::P2; },
     "goes with the weighting P2"},
    {{"p2_k", &ObjectiveOptions::p2_k},
     [](const ObjectiveSettings& o) { return o.weighting() == ObjectiveSettings::P2; },
     "goes with the weighting P2"},
    {{"log_normal_mean", &ObjectiveOptions::log_normal_mean},
     [](const ObjectiveSettings& o) {
       return o.timestep_sampling() == ObjectiveSettings::LOG_NORMAL;
     },
     "goes with the timestep sampling LOG_NORMAL"},
    {{"log_normal_std", &ObjectiveOptions::log_normal_std},
     [](const ObjectiveSettings& o) {
       return o.timestep_sampling() == ObjectiveSettings::LOG_NORMAL;
     },
     "goes with the timestep sampling LOG_NORMAL"},
};

constexpr Setting<OptimizerOptions> kOptimizerSettings[] = {
    {"learning_rate", &OptimizerOptions::learning_rate},
    {"beta1", &OptimizerOptions::beta1},
    {"beta2", &OptimizerOptions::beta2},
    {"epsilon", &OptimizerOptions::epsilon},
    {"weight_decay", &OptimizerOptions::weight_decay},
    {"max_gradient_norm", &OptimizerOptions::max_gradient_norm},
    {"warmup_steps", &OptimizerOptions::warmup_steps},
};

constexpr Setting<AugmentationOptions> kAugmentationSettings[] = {
    {"random_crop_scale", &AugmentationOptions::random_crop_scale},
};

// Those whose default does not depend on the model or the device.
constexpr Setting<TrainingOptions> kSettings[] = {
    {"batch_size", &TrainingOptions::batch_size},
    {"max_non_finite_steps", &TrainingOptions::max_non_finite_steps},
};

void ResolveChoices(const ModelInfo& model, ObjectiveSettings& objective,
                    FieldViolations& violations) {
  const bool edm = model.schedule.family() == ScheduleFamily::kEdm;
  if (!ObjectiveSettings::Loss_IsValid(objective.loss())) {
    violations.Add("objective.loss", "must be one of the losses");
  }
  if (objective.loss() == ObjectiveSettings::LOSS_UNSPECIFIED) {
    const bool learns_variance = model.spec.out_channels == 2 * model.spec.sample.channels;
    objective.set_loss(learns_variance ? ObjectiveSettings::HYBRID : ObjectiveSettings::SIMPLE);
  }
  if (!ObjectiveSettings::Weighting_IsValid(objective.weighting())) {
    violations.Add("objective.weighting", "must be one of the weightings");
  }
  if (objective.weighting() == ObjectiveSettings::WEIGHTING_UNSPECIFIED) {
    objective.set_weighting(edm ? ObjectiveSettings::EDM : ObjectiveSettings::UNIFORM);
  }
  if (!ObjectiveSettings::TimestepSampling_IsValid(objective.timestep_sampling())) {
    violations.Add("objective.timestep_sampling", "must be one of the ways to sample timesteps");
  }
  if (objective.timestep_sampling() == ObjectiveSettings::TIMESTEP_SAMPLING_UNSPECIFIED) {
    objective.set_timestep_sampling(edm ? ObjectiveSettings::LOG_NORMAL
                                        : ObjectiveSettings::TIMESTEP_SAMPLING_UNIFORM);
  }
}

// Whether the values suit each other is for Objective::Create to say.
void ResolveObjective(const ModelInfo& model, ObjectiveSettings& objective,
                      FieldViolations& violations) {
  ResolveChoices(model, objective, violations);
  ObjectiveOptions defaults;
  if (model.schedule.family() == ScheduleFamily::kFlow) {
    defaults.log_normal_mean = 0;
    defaults.log_normal_std = 1;
  }
  for (const auto& [setting, is_read, goes_with] : kObjectiveSettings) {
    if (is_read(objective)) {
      FillIn(setting, defaults, objective);
    } else if (IsSet(objective, setting.field)) {
      violations.Add(absl::StrCat("objective.", setting.field), goes_with);
    }
  }
  const bool can_drop = model.null_class_label.has_value();
  if (!objective.has_label_dropout()) objective.set_label_dropout(can_drop ? kLabelDropout : 0);
  if (objective.label_dropout() != 0 && !can_drop) {
    violations.Add("objective.label_dropout",
                   "must be 0: the network has no class that stands for none");
  }
}

void ResolveOptimizer(Optimizer& optimizer, FieldViolations& violations) {
  for (const auto& setting : kOptimizerSettings) FillIn(setting, {}, optimizer);
  if (!Optimizer::Decay_IsValid(optimizer.decay())) {
    violations.Add("optimizer.decay", "must be one of the decays");
  }
  if (optimizer.decay() == Optimizer::DECAY_UNSPECIFIED) optimizer.set_decay(Optimizer::CONSTANT);
}

// A network call takes memory for each pixel. Running out of it kills the server, not just the job.
void ResolveMicroBatches(const SettingsContext& context, TrainingSettings& settings,
                         FieldViolations& violations) {
  const NetworkSpec& spec = context.model.spec;
  const int64_t most = std::max<int64_t>(
      context.max_micro_batch_pixels / (spec.sample.height * spec.sample.width), 1);
  if (!settings.has_micro_batch_size()) {
    const int64_t wanted = context.device == at::kCPU ? TrainingOptions().micro_batch_size : most;
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

void CheckDuration(const TrainingSettings& settings, FieldViolations& violations) {
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
    violations.Add("evaluations.settings.model",
                   "must be empty: the model that is being trained is evaluated");
  }
  if (!evaluation.dataset().empty()) {
    violations.Add("evaluations.settings.dataset",
                   "must be empty: the data set that is trained on is used");
  }
  if (policy.every_n_steps() > 0) {
    ResolveEvaluationParts("evaluations.settings.", context, evaluation, violations);
  }
}

// Adds what only the core can say of the options.
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

ObjectiveOptions ObjectiveOptionsOf(const ObjectiveSettings& objective) {
  ObjectiveOptions options;
  options.loss = objective.loss() == ObjectiveSettings::HYBRID ? LossKind::kHybrid
                 : objective.loss() == ObjectiveSettings::VARIATIONAL_BOUND
                     ? LossKind::kVariationalBound
                     : LossKind::kSimple;
  options.weighting = objective.weighting() == ObjectiveSettings::MIN_SNR ? LossWeighting::kMinSnr
                      : objective.weighting() == ObjectiveSettings::P2    ? LossWeighting::kP2
                      : objective.weighting() == ObjectiveSettings::EDM   ? LossWeighting::kEdm
                                                                          : LossWeighting::kUniform;
  options.timestep_sampling = objective.timestep_sampling() == ObjectiveSettings::LOSS_SECOND_MOMENT
                                  ? TimestepSampling::kLossSecondMoment
                              : objective.timestep_sampling() == ObjectiveSettings::LOG_NORMAL
                                  ? TimestepSampling::kLogNormal
                                  : TimestepSampling::kUniform;
  for (const ObjectiveSetting& row : kObjectiveSettings) Apply(row.setting, objective, options);
  options.label_dropout = objective.label_dropout();
  return options;
}

OptimizerOptions OptimizerOptionsOf(const Optimizer& optimizer) {
  OptimizerOptions options;
  for (const auto& setting : kOptimizerSettings) Apply(setting, optimizer, options);
  options.decay = optimizer.decay() == Optimizer::COSINE   ? LearningRateDecay::kCosine
                  : optimizer.decay() == Optimizer::LINEAR ? LearningRateDecay::kLinear
                                                           : LearningRateDecay::kConstant;
  return options;
}

AugmentationOptions AugmentationOptionsOf(const denoised::v1::Augmentation& augmentation) {
  AugmentationOptions options = {.horizontal_flip = augmentation.horizontal_flip()};
  for (const auto& setting : kAugmentationSettings) Apply(setting, augmentation, options);
  return options;
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
    violations.Add("dataset", "has classes, but the network has none");
  }
  ResolveObjective(context.model, *settings.mutable_objective(), violations);
  ResolveOptimizer(*settings.mutable_optimizer(), violations);
  for (const auto& setting : kSettings) FillIn(setting, {}, settings);
  for (const auto& setting : kAugmentationSettings) {
    FillIn(setting, {}, *settings.mutable_augmentation());
  }
  ResolveMicroBatches(context, settings, violations);
  ResolvePrecision(context, settings, violations);
  CheckDuration(settings, violations);
  if (!settings.has_seed()) settings.set_seed(context.seed);
  if (settings.ema_decays().empty()) settings.add_ema_decays(TrainingOptions().ema_decays[0]);
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
  TrainingOptions options = {
      .objective = ObjectiveOptionsOf(settings.objective()),
      .optimizer = OptimizerOptionsOf(settings.optimizer()),
      .augmentation = AugmentationOptionsOf(settings.augmentation()),
      .max_steps = settings.max_steps(),
      .micro_batch_size = settings.micro_batch_size(),
      .seed = settings.seed(),
      .ema_decays = {settings.ema_decays().begin(), settings.ema_decays().end()},
      .precision = PrecisionOf(settings.precision())};
  for (const auto& setting : kSettings) Apply(setting, settings, options);
  return options;
}

}  // namespace denoise
