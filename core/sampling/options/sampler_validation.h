// Validates sampler options before anything is computed from them.
#pragma once

#include "core/base/field_violations.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

// All violations that do not depend on the noise schedule (see sampler_families.h for the others).
// Fields are named like the members of SamplerOptions. Options that the sampler does not read are
// also checked, so that NaN is refused everywhere. ValidateTimesteps checks `steps`, `timesteps` and
// `sigmas`.
FieldViolations ValidateSamplerOptions(const SamplerOptions& options);

// Checks `sigmas`, `timesteps` or `steps`, the first that is given, against a schedule.
FieldViolations ValidateTimesteps(const SamplerOptions& options, const Schedule& schedule);

}  // namespace denoise
