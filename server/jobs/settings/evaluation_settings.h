// The settings of an evaluation: defaults filled in, everything checked, and as the core has them.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/base/field_violations.h"
#include "core/data/data_set.h"
#include "core/evaluation/feature_extractor.h"
#include "core/evaluation/model_evaluation.h"
#include "denoised/v1/training.pb.h"
#include "server/jobs/settings/training_settings.h"
#include "server/models/model.h"

namespace denoise {

// InvalidArgument has every violation, named from EvaluationSettings; else as CheckFeaturesServed.
absl::StatusOr<denoised::v1::EvaluationSettings> ResolveEvaluation(
    denoised::v1::EvaluationSettings settings, const SettingsContext& context);

// Everything but model and data set.
void ResolveEvaluationParts(std::string_view prefix, const SettingsContext& context,
                            denoised::v1::EvaluationSettings& settings,
                            FieldViolations& violations);

// FailedPrecondition where Inception features are asked for and there are none.
absl::Status CheckFeaturesServed(const SettingsContext& context,
                                 const denoised::v1::EvaluationSettings& settings);

// How many pictures an evaluation looks at in all (ModelEvaluation::Progress), of a data set of so many.
int64_t EvaluationPictures(const denoised::v1::EvaluationSettings& settings, int64_t data_set_size);

// Of resolved settings, all but the network. `inception` may be null where it is not asked for.
struct EvaluationMaterial {
  const Model& model;
  std::shared_ptr<const DataSet> data;
  std::shared_ptr<const FeatureExtractor> inception;
  int max_rows = 8;  // of a network call
};
absl::StatusOr<ModelEvaluation::Setup> EvaluationSetupOf(
    const denoised::v1::EvaluationSettings& settings, const EvaluationMaterial& material);

}  // namespace denoise
