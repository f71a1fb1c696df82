#include "server/jobs/settings/evaluation_settings.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/base/status_macros.h"
#include "core/diffusion/variational_bound.h"
#include "core/evaluation/untrained_features.h"

namespace denoise {
namespace {

using denoised::v1::EvaluationSettings;

constexpr int kSampleCount = 1000;
constexpr int kNearestNeighbours = 5;

// The scheduler's. Where that knows no learned variance (DDIM's), but the network has one, it is a
// learned range, which published networks have.
VarianceType VarianceOf(const ModelInfo& model) {
  const VarianceType stated = model.scheduler.sampler.variance_type;
  const bool learned = model.spec.out_channels == 2 * model.spec.sample.channels;
  return learned && stated != VarianceType::kLearned ? VarianceType::kLearnedRange : stated;
}

absl::StatusOr<VariationalBound> BoundOf(const ModelInfo& model) {
  return VariationalBound::Create(model.schedule,
                                  {.prediction_type = model.scheduler.sampler.prediction_type,
                                   .variance_type = VarianceOf(model),
                                   .clip_x0 = true});
}

}  // namespace

absl::StatusOr<EvaluationSettings> ResolveEvaluation(EvaluationSettings settings,
                                                     const SettingsContext& context) {
  FieldViolations violations;
  CheckChannels("model", context.model, violations);
  CheckClasses("dataset", context, violations);
  ResolveEvaluationParts("", context, settings, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  RETURN_IF_ERROR(CheckFeaturesServed(context, settings));
  return settings;
}

absl::Status CheckFeaturesServed(const SettingsContext& context,
                                 const EvaluationSettings& settings) {
  if (settings.features() != EvaluationSettings::INCEPTION || context.has_inception) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError("the server has no Inception network (--inception)");
}

void ResolveEvaluationParts(std::string_view prefix, const SettingsContext& context,
                            EvaluationSettings& settings, FieldViolations& violations) {
  const auto field = [&](const char* name) { return std::string(prefix).append(name); };
  const int64_t pictures = context.data_set.report().pictures();
  if (!settings.has_sample_count()) {
    settings.set_sample_count(static_cast<int32_t>(std::min<int64_t>(kSampleCount, pictures)));
  }
  violations.CheckRange(field("sample_count"), settings.sample_count(), 2, kMaxSampleCount);
  if (!settings.has_nearest_neighbours()) {
    settings.set_nearest_neighbours(std::clamp(settings.sample_count() - 1, 1, kNearestNeighbours));
  }
  const int64_t compared = std::min<int64_t>(settings.sample_count(), pictures);
  violations.CheckRange(field("nearest_neighbours"), settings.nearest_neighbours(), 1,
                        std::clamp<int64_t>(compared - 1, 1, kMaxNearestNeighbours));
  ResolveSampling(field("sampler."), context, *settings.mutable_sampler(), violations);
  settings.set_guidance_scale(ResolveGuidance(
      prefix, settings.has_guidance_scale(), settings.guidance_scale(), context.model, violations));
  if (!settings.has_seed()) settings.set_seed(context.seed);
  if (!EvaluationSettings::Features_IsValid(settings.features())) {
    violations.Add(field("features"), "must be one of the features");
  }
  if (settings.features() == EvaluationSettings::FEATURES_UNSPECIFIED) {
    settings.set_features(EvaluationSettings::RANDOM_CONVOLUTIONS);
  }
  if (settings.has_bits_per_dim_pictures()) {
    violations.CheckRange(field("bits_per_dim_pictures"), settings.bits_per_dim_pictures(), 1,
                          pictures);
    const absl::Status bound = BoundOf(context.model).status();
    if (!bound.ok()) violations.Add(field("bits_per_dim_pictures"), std::string(bound.message()));
  }
}

int64_t EvaluationPictures(const EvaluationSettings& settings, int64_t data_set_size) {
  return settings.sample_count() + std::min(data_set_size, kMaxPicturesSearched) +
         settings.bits_per_dim_pictures();
}

absl::StatusOr<ModelEvaluation::Setup> EvaluationSetupOf(const EvaluationSettings& settings,
                                                         const EvaluationMaterial& material) {
  ModelEvaluation::Setup setup;
  ASSIGN_OR_RETURN(setup.plan, PlanOf(settings.sampler(), material.model));
  setup.null_class_label = material.model.null_class_label;
  setup.data = material.data;
  switch (settings.features()) {
    case EvaluationSettings::PIXELS:
      setup.features = std::make_shared<PixelFeatures>();
      break;
    case EvaluationSettings::INCEPTION:
      if (material.inception == nullptr) {
        return absl::FailedPreconditionError("the server has no Inception network (--inception)");
      }
      setup.features = material.inception;
      break;
    default:
      setup.features = std::make_shared<RandomConvolutionFeatures>();
  }
  if (settings.has_bits_per_dim_pictures()) {
    ASSIGN_OR_RETURN(setup.bound, BoundOf(material.model));
  }
  setup.options = {.sample_count = settings.sample_count(),
                   .seed = settings.seed(),
                   .guidance_scale = settings.guidance_scale(),
                   .nearest_neighbours = settings.nearest_neighbours(),
                   .bits_per_dim_pictures = settings.bits_per_dim_pictures(),
                   .batch_rows = material.max_rows};
  return setup;
}

}  // namespace denoise
