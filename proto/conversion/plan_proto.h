// Compiled plans between the wire and the core: the same numbers, bit for bit.
#pragma once

#include "absl/status/statusor.h"
#include "core/sampling/samplers/plan.h"
#include "denoised/v1/sampler_plan.pb.h"

namespace denoise {

// All but what the plan does not know: the model, its version and the sampler's options.
denoised::v1::SamplerPlan PlanToProto(const SamplerPlan& plan);

// InvalidArgument where the message is no plan: slots out of range, no evaluation, an update of
// another size, no kind of noise. Numbers are taken as they are.
absl::StatusOr<SamplerPlan> PlanFromProto(const denoised::v1::SamplerPlan& message);

}  // namespace denoise
