// Lays a sampler's path over a training schedule: which timesteps it visits, and which noise
// levels.
#pragma once

#include "absl/status/statusor.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/samplers/noise_path.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

// At least one move. InvalidArgument with field violations named as the members of SamplerOptions:
// an offset past the schedule's end, a step of no length, epsilon prediction where there is no
// signal. `options` is valid (sampler_validation.h).
absl::StatusOr<NoisePath> LayOutPath(const Schedule& schedule, const SamplerOptions& options);

}  // namespace denoise
