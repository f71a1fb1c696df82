// Compiles a schedule and options to a plan. Pure: the same inputs give the same plan.
#pragma once

#include "absl/status/statusor.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/samplers/plan.h"
#include "core/sampling/samplers/run.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

// InvalidArgument has field violations (core/base/field_violations.h) named like the members of
// SamplerOptions and RunOptions (run.h): options out of range, epsilon prediction without signal,
// timesteps beyond the schedule.
absl::StatusOr<SamplerPlan> CompilePlan(const Schedule& schedule, const SamplerOptions& options,
                                        const RunOptions& run = {});

}  // namespace denoise
