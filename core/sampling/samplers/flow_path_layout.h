// Paths over flow matching's noise schedule. Internal to core/sampling.
#pragma once

#include "absl/status/statusor.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/samplers/noise_path.h"
#include "core/sampling/schedules/flow_schedule.h"

namespace denoise {

// As LayOutPath (path_layout.h).
absl::StatusOr<NoisePath> LayOutFlowPath(const FlowSchedule& schedule,
                                         const SamplerOptions& options);

}  // namespace denoise
