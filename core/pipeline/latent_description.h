// What is known of a latent diffusion model from its configurations.
#pragma once

#include "absl/status/statusor.h"
#include "core/pipeline/latent_configs.h"
#include "core/pipeline/parsed_pipeline.h"

namespace denoise {

// InvalidArgument, naming the file and the key, if the parts do not fit together.
absl::StatusOr<PipelineDescription> DescribeLatentModel(const LatentConfigs& configs,
                                                        const LatentFamily& family);

}  // namespace denoise
