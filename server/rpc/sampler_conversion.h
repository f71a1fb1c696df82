// Sampler options between the wire and the core.
#pragma once

#include "absl/status/statusor.h"
#include "core/sampling/sampler_options.h"
#include "denoised/v1/sampler.pb.h"
#include "server/models/model.h"

namespace denoise {

// The options of a request on `model`: its default sampler, or the one that the request names with
// whatever means the same to both carried over, overridden by what the request sets.
// InvalidArgument carries a violation per field of the message ("steps", "eta"): unknown enum
// values, numbers that are not finite, more than `max_steps` steps, options that the sampler does
// not read, options that do nothing without another. Whether the values suit the sampler is for
// CompilePlan to say; `options` returns what could be resolved even so.
struct ResolvedSampler {
  SamplerOptions options;
  absl::Status violations;
};
ResolvedSampler ResolveSampler(const denoised::v1::SamplerOptions& request, const Model& model,
                               int max_steps);

// Every option that the sampler reads. Sent back as a request, it resolves to the same options.
denoised::v1::SamplerOptions SamplerToProto(const SamplerOptions& options);

}  // namespace denoise
