// Paths over variance-preserving schedules. Internal to core/sampling.
#pragma once

#include "absl/status/statusor.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/samplers/noise_path.h"
#include "core/sampling/schedules/vp_schedule.h"

namespace denoise {

// As LayOutPath (path_layout.h).
absl::StatusOr<NoisePath> LayOutVpPath(const VpSchedule& schedule, const SamplerOptions& options);

}  // namespace denoise
