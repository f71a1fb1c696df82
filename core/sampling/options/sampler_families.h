// Which samplers suit which families of noise schedules: the one place that decides.
#pragma once

#include "core/base/field_violations.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

bool SuitsFamily(SamplerKind sampler, ScheduleFamily family);

// What of `options` does not go with schedules of `family`, each field named as the member of
// SamplerOptions: the sampler, what the network predicts, how levels are spaced. Where the sampler
// is wrong nothing else is judged.
void CheckFamily(const SamplerOptions& options, ScheduleFamily family, FieldViolations& violations);

}  // namespace denoise
