// The settings of a training job: defaults filled in, everything checked, and as the core has them.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/base/field_violations.h"
#include "core/data/data_set.h"
#include "core/train/training_options.h"
#include "denoised/v1/datasets.pb.h"
#include "denoised/v1/training.pb.h"
#include "server/jobs/runs/picture_run.h"
#include "server/models/model.h"

namespace denoise {

// What settings are resolved against.
struct SettingsContext {
  const Model& model;  // what is trained or evaluated; its networks are not looked at
  const denoised::v1::Dataset& data_set;  // READY
  at::DeviceType device = at::kCPU;
  bool has_inception = false;
  uint64_t seed = 0;  // for a request that names none
  int max_sampler_steps = 1000;
  int64_t max_micro_batch_pixels = int64_t{1} << 22;  // of a network call in training
};

// InvalidArgument has every violation, named from TrainingSettings; else as CheckFeaturesServed.
absl::StatusOr<denoised::v1::TrainingSettings> ResolveTraining(
    denoised::v1::TrainingSettings settings, const SettingsContext& context);

// Of resolved settings.
TrainingOptions TrainingOptionsOf(const denoised::v1::TrainingSettings& settings);

// The grid of resolved settings.
absl::StatusOr<PictureOrder> GridOf(const denoised::v1::TrainingSettings& settings,
                                    const Model& model);

// Parts that evaluations have, too. `prefix` comes before the fields: "samples.".

// All options that the sampler reads, in place of those that are set. Adds what CompilePlan objects
// to.
void ResolveSampling(std::string_view prefix, const SettingsContext& context,
                     denoised::v1::SamplerOptions& sampler, FieldViolations& violations);
// The scale, or 2 where it is absent and the model can be guided, or 1.
double ResolveGuidance(std::string_view prefix, bool present, double scale, const Model& model,
                       FieldViolations& violations);
// That every class of the data set is one of the model's (MatchClasses), where the model has any.
void CheckClasses(std::string_view field, const SettingsContext& context,
                  FieldViolations& violations);
// The data set as such a model is told of it: with the model's labels.
absl::StatusOr<std::shared_ptr<const DataSet>> WithLabelsOf(const Model& model,
                                                            std::shared_ptr<const DataSet> data);
// That pictures can be samples of the model.
void CheckChannels(std::string_view field, const Model& model, FieldViolations& violations);

// The plan of a resolved sampler.
absl::StatusOr<std::shared_ptr<const SamplerPlan>> PlanOf(
    const denoised::v1::SamplerOptions& sampler, const Model& model);

}  // namespace denoise
