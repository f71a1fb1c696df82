// What the settings of training and of evaluations have in common.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/base/field_violations.h"
#include "core/data/data_set.h"
#include "core/nn/network.h"
#include "core/sampling/samplers/plan.h"
#include "denoised/v1/datasets.pb.h"
#include "denoised/v1/training_settings.pb.h"
#include "server/models/model.h"

namespace denoise {

// What settings are resolved against.
struct SettingsContext {
  const ModelInfo& model;                 // that is trained or evaluated
  const denoised::v1::Dataset& data_set;  // READY
  at::DeviceType device = at::kCPU;
  bool has_inception = false;
  uint64_t seed = 0;  // for a request that names none
  int max_sampler_steps = 1000;
  int64_t max_micro_batch_pixels = int64_t{1} << 22;  // per network call in training
};

// Resolves the sampler to all options that it reads. Adds what is wrong with them, each field with
// `prefix` before its name ("samples.sampler.").
void ResolveSampling(std::string_view prefix, const SettingsContext& context,
                     denoised::v1::SamplerOptions& sampler, FieldViolations& violations);

// The guidance scale; where it is not `present`, 2 for a model that can be guided, else 1.
double ResolveGuidance(std::string_view prefix, bool present, double scale, const ModelInfo& model,
                       FieldViolations& violations);

// Requires every class of the data set to be one of the model's (MatchClasses), if it has any.
void CheckClasses(std::string_view field, const SettingsContext& context,
                  FieldViolations& violations);

// Requires the model's samples to be pictures: 1 or 3 channels.
void CheckChannels(std::string_view field, const ModelInfo& model, FieldViolations& violations);

// `data` with the model's class labels in place of its own.
absl::StatusOr<std::shared_ptr<const DataSet>> WithLabelsOf(const ModelInfo& model,
                                                            std::shared_ptr<const DataSet> data);

// The plan of a resolved sampler.
absl::StatusOr<std::shared_ptr<const SamplerPlan>> PlanOf(
    const denoised::v1::SamplerOptions& sampler, const ModelInfo& model);

}  // namespace denoise
