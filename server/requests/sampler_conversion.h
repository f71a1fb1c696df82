// What a request makes of a model's sampler.
#pragma once

#include "core/sampling/options/sampler_overrides.h"
#include "denoised/v1/sampler.pb.h"
#include "server/models/model.h"

namespace denoise {

// The options of a request on `model`: its default sampler, or the one that the request names with
// whatever means the same to both carried over, overridden by what the request sets. Violations are
// those of ApplyOverrides and values of enumerations that are not known; their fields are those of
// the message ("steps", "eta").
ResolvedSampler ResolveSampler(const denoised::v1::SamplerOptions& request, const Model& model,
                               int max_steps);

}  // namespace denoise
