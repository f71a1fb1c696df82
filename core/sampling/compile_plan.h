// From (schedule, options) to a plan. Pure: the same inputs give the same plan.
#pragma once

#include "absl/status/statusor.h"
#include "core/sampling/plan.h"
#include "core/sampling/run.h"
#include "core/sampling/sampler_options.h"
#include "core/sampling/schedule.h"

namespace denoise {

// InvalidArgument carries field violations (core/base/field_violations.h) named as the members of
// SamplerOptions, and says why: options out of range, epsilon prediction where there is no signal,
// timesteps beyond the schedule. Those of `run` (run.h) are named as the members of RunOptions.
absl::StatusOr<SamplerPlan> CompilePlan(const Schedule& schedule, const SamplerOptions& options,
                                        const RunOptions& run = {});

}  // namespace denoise
