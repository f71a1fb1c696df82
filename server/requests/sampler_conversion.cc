#include "server/requests/sampler_conversion.h"

#include "proto/conversion/sampler_proto.h"

namespace denoise {

ResolvedSampler ResolveSampler(const denoised::v1::SamplerOptions& request, const Model& model,
                               int max_steps) {
  return ResolveSampler(request, model.scheduler, model.default_sampler, max_steps);
}

}  // namespace denoise
