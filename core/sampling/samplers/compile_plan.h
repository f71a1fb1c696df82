// From (schedule, options) to a plan. Pure: the same inputs give the same plan.
#pragma once

#include "absl/status/statusor.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/samplers/plan.h"
#include "core/sampling/samplers/run.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

// InvalidArgument carries field violations (core/base/field_violations.h) named as the members of
// SamplerOptions, and says why: options out of range, epsilon prediction where there is no signal,
// timesteps beyond the schedule. Those of `run` (run.h) are named as the members of RunOptions.
absl::StatusOr<SamplerPlan> CompilePlan(const Schedule& schedule, const SamplerOptions& options,
                                        const RunOptions& run = {});

}  // namespace denoise
