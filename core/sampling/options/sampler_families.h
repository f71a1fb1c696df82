// Decides which samplers suit which families of noise schedules.
#pragma once

#include "core/base/field_violations.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

bool SuitsFamily(SamplerKind sampler, ScheduleFamily family);

// Adds what in `options` does not suit schedules of `family`: the sampler, the prediction type, the
// spacing. Fields are named like the members of SamplerOptions. If the sampler does not suit,
// nothing else is checked.
void CheckFamily(const SamplerOptions& options, ScheduleFamily family, FieldViolations& violations);

}  // namespace denoise
