// Lays out a sampler's path over a training schedule: which timesteps and noise levels it visits.
#pragma once

#include "absl/status/statusor.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/samplers/noise_path.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

// Returns at least one move. Requires valid options (sampler_validation.h). InvalidArgument with
// field violations named like the members of SamplerOptions: an offset past the schedule's end, a
// step of no length, epsilon prediction without signal.
absl::StatusOr<NoisePath> LayOutPath(const Schedule& schedule, const SamplerOptions& options);

}  // namespace denoise
