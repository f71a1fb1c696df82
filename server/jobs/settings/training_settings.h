// The settings of a training job: resolved with their defaults and checked, and as options of the
// core.
#pragma once

#include "absl/status/statusor.h"
#include "core/train/training_options.h"
#include "denoised/v1/training_settings.pb.h"
#include "server/jobs/settings/common_settings.h"

namespace denoise {

// Fills in every default. InvalidArgument lists every violation, named from TrainingSettings;
// otherwise as CheckFeaturesServed.
absl::StatusOr<denoised::v1::TrainingSettings> ResolveTraining(
    denoised::v1::TrainingSettings settings, const SettingsContext& context);

// Of resolved settings.
TrainingOptions TrainingOptionsOf(const denoised::v1::TrainingSettings& settings);

}  // namespace denoise
