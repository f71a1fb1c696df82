// Sampler options between the wire and the core, by name: a field of the message is called as the
// option is, and a value SIGMA_SPACING_KARRAS as "karras" is.
#pragma once

#include "core/base/field_violations.h"
#include "core/sampling/options/sampler_overrides.h"
#include "core/sampling/options/scheduler_config.h"
#include "denoised/v1/sampler.pb.h"

namespace denoise {

// Options that come with a checkpoint are no fields of the message and are left out.
denoised::v1::SamplerOptions SamplerToProto(const SamplerOverrides& overrides);

// What the message sets. Values of enumerations that are not known are added to `violations` and
// left out; nothing else is judged.
SamplerOverrides SamplerFromProto(const denoised::v1::SamplerOptions& message,
                                  FieldViolations& violations);

// The options of a request: `defaults`, or those of the sampler that it names with whatever means
// the same to both carried over from `scheduler`, overridden by what it sets. Violations are those
// of ApplyOverrides and values of enumerations that are not known; their fields are those of the
// message ("steps", "eta").
ResolvedSampler ResolveSampler(const denoised::v1::SamplerOptions& request,
                               const SchedulerConfig& scheduler, const SamplerOptions& defaults,
                               int max_steps);

}  // namespace denoise
