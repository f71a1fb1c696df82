#include "server/rpc/sampler_conversion.h"

#include <optional>

#include "core/base/field_violations.h"
#include "core/sampling/scheduler_config.h"
#include "proto/conversion/sampler_proto.h"

namespace denoise {
namespace {

// The defaults of the sampler that the request asks for.
SamplerOptions Defaults(const Model& model, std::optional<SamplerKind> sampler) {
  if (!sampler.has_value() || *sampler == model.default_sampler.sampler) {
    return model.default_sampler;
  }
  SamplerOptions options = SwitchSampler(model.scheduler, *sampler);
  options.steps = model.default_sampler.steps;
  return options;
}

}  // namespace

ResolvedSampler ResolveSampler(const denoised::v1::SamplerOptions& request, const Model& model,
                               int max_steps) {
  FieldViolations violations;
  const SamplerOverrides overrides = SamplerFromProto(request, violations);
  ResolvedSampler resolved =
      ApplyOverrides(Defaults(model, overrides.sampler), overrides, max_steps);
  violations.AddAll("", resolved.violations);
  resolved.violations = violations.ToStatus();
  return resolved;
}

}  // namespace denoise
