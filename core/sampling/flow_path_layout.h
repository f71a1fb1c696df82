// Paths over flow matching's noise schedule. Internal to core/sampling.
#pragma once

#include "absl/status/statusor.h"
#include "core/sampling/flow_schedule.h"
#include "core/sampling/noise_path.h"
#include "core/sampling/sampler_options.h"

namespace denoise {

// As LayOutPath (path_layout.h).
absl::StatusOr<NoisePath> LayOutFlowPath(const FlowSchedule& schedule,
                                         const SamplerOptions& options);

}  // namespace denoise
