// What is wrong with sampler options, before anything is computed from them.
#pragma once

#include "core/base/field_violations.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

// Every violation that holds on any noise schedule (sampler_families.h has the others), each field
// named as the member of SamplerOptions. Options that the sampler does
// not read are checked as well, so that a NaN is refused wherever it stands. `steps` and
// `timesteps` are left to ValidateTimesteps.
FieldViolations ValidateSamplerOptions(const SamplerOptions& options);

// Whether `timesteps`, or `steps` where those are empty, fit a schedule.
FieldViolations ValidateTimesteps(const SamplerOptions& options, const Schedule& schedule);

}  // namespace denoise
