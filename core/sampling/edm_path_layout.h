// Paths over EDM's noise schedule. Internal to core/sampling.
#pragma once

#include "absl/status/statusor.h"
#include "core/sampling/edm_schedule.h"
#include "core/sampling/noise_path.h"
#include "core/sampling/sampler_options.h"

namespace denoise {

// As LayOutPath (path_layout.h).
absl::StatusOr<NoisePath> LayOutEdmPath(const EdmSchedule& schedule, const SamplerOptions& options);

}  // namespace denoise
