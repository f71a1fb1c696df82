// The settings of an evaluation: resolved with their defaults and checked, and as the core takes
// them.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/base/field_violations.h"
#include "core/data/data_set.h"
#include "core/evaluation/feature_extractor.h"
#include "core/evaluation/model_evaluation.h"
#include "denoised/v1/training_settings.pb.h"
#include "server/jobs/settings/common_settings.h"

namespace denoise {

// Fills in every default. InvalidArgument lists every violation, named from EvaluationSettings;
// otherwise as CheckFeaturesServed.
absl::StatusOr<denoised::v1::EvaluationSettings> ResolveEvaluation(
    denoised::v1::EvaluationSettings settings, const SettingsContext& context);

// The same but for the model and the data set. `prefix` comes before the names of fields.
void ResolveEvaluationParts(std::string_view prefix, const SettingsContext& context,
                            denoised::v1::EvaluationSettings& settings,
                            FieldViolations& violations);

// FailedPrecondition where the settings ask for Inception features and the server has none.
absl::Status CheckFeaturesServed(const SettingsContext& context,
                                 const denoised::v1::EvaluationSettings& settings);

// How many pictures the evaluation looks at in all, samples included (ModelEvaluation::Progress).
int64_t EvaluationPictures(const denoised::v1::EvaluationSettings& settings, int64_t data_set_size);

struct EvaluationMaterial {
  const ModelInfo& model;
  std::shared_ptr<const DataSet> data;
  std::shared_ptr<const FeatureExtractor> inception;  // may be null where it is not asked for
  int max_rows = 8;                                   // of a network call
};
// The setup of resolved settings, without the network.
absl::StatusOr<ModelEvaluation::Setup> EvaluationSetupOf(
    const denoised::v1::EvaluationSettings& settings, const EvaluationMaterial& material);

}  // namespace denoise
