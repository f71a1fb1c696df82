#include "server/rpc/sampler_conversion.h"

#include <cmath>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/sampling/scheduler_config.h"
#include "server/rpc/enum_tables.h"

namespace denoise {
namespace {

using ProtoOptions = denoised::v1::SamplerOptions;

// Puts what a request sets over the defaults, and notes what cannot be. A field in violation keeps
// its default, so that the others can still be judged.
class Overrides {
 public:
  Overrides(SamplerOptions& options, FieldViolations& violations)
      : options_(options), violations_(violations) {}

  template <class Value, class Option>
  void Set(std::string_view field, Value value, Option& option) {
    if (!Reads(field)) return;
    if constexpr (std::is_floating_point_v<Value>) {
      if (!std::isfinite(value)) return violations_.Add(field, "must be finite");
    }
    option = value;
  }

  // For an option that does nothing unless `condition`, which `what` describes.
  template <class Value, class Option>
  void SetWith(bool condition, std::string_view what, std::string_view field, Value value,
               Option& option) {
    if (!condition && SamplerReads(options_.sampler, field)) {
      return violations_.Add(field, std::string("has no effect without ").append(what));
    }
    Set(field, value, option);
  }

  template <class Proto, class Core, size_t size, class Option>
  void SetEnum(std::string_view field, const std::pair<Proto, Core> (&table)[size], Proto value,
               Option& option) {
    if (value == Proto{} || !Reads(field)) return;
    const std::optional<Core> core = EnumToCore(table, value);
    if (!core) {
      return violations_.Add(field, absl::StrCat("unknown value ", static_cast<int>(value)));
    }
    option = *core;
  }

 private:
  bool Reads(std::string_view field) {
    if (SamplerReads(options_.sampler, field)) return true;
    violations_.Add(field,
                    std::string("is not an option of ").append(SamplerName(options_.sampler)));
    return false;
  }

  SamplerOptions& options_;
  FieldViolations& violations_;
};

// The defaults of the sampler that the request asks for.
SamplerOptions Defaults(const ProtoOptions& request, const Model& model,
                        FieldViolations& violations) {
  if (request.sampler() == denoised::v1::SAMPLER_UNSPECIFIED) return model.default_sampler;
  const auto kind = EnumToCore(kSamplers, request.sampler());
  if (!kind) {
    violations.Add("sampler", absl::StrCat("unknown value ", static_cast<int>(request.sampler())));
    return model.default_sampler;
  }
  if (*kind == model.default_sampler.sampler) return model.default_sampler;
  SamplerOptions options = SwitchSampler(model.scheduler, *kind);
  options.steps = model.default_sampler.steps;
  return options;
}

void SetSteps(const ProtoOptions& request, int max_steps, SamplerOptions& options,
              FieldViolations& violations) {
  if (request.has_steps()) {
    if (request.steps() < 1 || request.steps() > max_steps) {
      violations.Add("steps",
                     absl::StrCat("must be between 1 and ", max_steps, ", is ", request.steps()));
    } else {
      options.steps = request.steps();
    }
  }
  if (request.timesteps().empty()) return;
  if (request.has_steps()) violations.Add("timesteps", "cannot be given together with steps");
  if (request.timesteps_size() > max_steps) {
    return violations.Add("timesteps", absl::StrCat("must be at most ", max_steps, " numbers, is ",
                                                    request.timesteps_size()));
  }
  for (int i = 0; i < request.timesteps_size(); ++i) {
    if (!std::isfinite(request.timesteps(i))) {
      return violations.Add(absl::StrCat("timesteps[", i, "]"), "must be finite");
    }
  }
  options.timesteps.assign(request.timesteps().begin(), request.timesteps().end());
}

void SetPrediction(const ProtoOptions& request, SamplerOptions& options, Overrides& overrides) {
  if (request.has_clip_sample()) {
    overrides.Set("clip_sample", request.clip_sample(), options.clip_sample);
  }
  if (request.has_thresholding()) {
    overrides.Set("thresholding", request.thresholding(), options.thresholding);
  }
  if (request.has_clip_sample_range()) {
    overrides.SetWith(options.clip_sample, "clip_sample", "clip_sample_range",
                      request.clip_sample_range(), options.clip_sample_range);
  }
  if (request.has_dynamic_thresholding_ratio()) {
    overrides.SetWith(options.thresholding, "thresholding", "dynamic_thresholding_ratio",
                      request.dynamic_thresholding_ratio(), options.dynamic_thresholding_ratio);
  }
  if (request.has_sample_max_value()) {
    overrides.SetWith(options.thresholding, "thresholding", "sample_max_value",
                      request.sample_max_value(), options.sample_max_value);
  }
}

void SetDdpmAndDdim(const ProtoOptions& request, SamplerOptions& options, Overrides& overrides) {
  overrides.SetEnum("variance_type", kVarianceTypes, request.variance_type(),
                    options.variance_type);
  if (request.has_eta()) overrides.Set("eta", request.eta(), options.eta);
  if (request.has_use_clipped_model_output()) {
    overrides.Set("use_clipped_model_output", request.use_clipped_model_output(),
                  options.use_clipped_model_output);
  }
  if (request.has_step_to_listed_timestep()) {
    overrides.Set("step_to_listed_timestep", request.step_to_listed_timestep(),
                  options.step_to_listed_timestep);
  }
}

void SetSolver(const ProtoOptions& request, SamplerOptions& options, Overrides& overrides) {
  overrides.SetEnum("sigma_spacing", kSigmaSpacings, request.sigma_spacing(),
                    options.sigma_spacing);
  overrides.SetEnum("solver_type", kSolverTypes, request.solver_type(), options.solver_type);
  overrides.SetEnum("final_sigma", kFinalSigmas, request.final_sigma(), options.final_sigma);
  if (request.has_solver_order()) {
    overrides.Set("solver_order", request.solver_order(), options.solver_order);
  }
  if (request.has_lower_order_final()) {
    overrides.Set("lower_order_final", request.lower_order_final(), options.lower_order_final);
  }
  if (request.has_euler_at_final()) {
    overrides.Set("euler_at_final", request.euler_at_final(), options.euler_at_final);
  }
  if (request.has_corrected_third_order()) {
    overrides.SetWith(options.solver_order == 3, "solver_order 3", "corrected_third_order",
                      request.corrected_third_order(), options.corrected_third_order);
  }
  if (request.has_flow_shift()) {
    overrides.SetWith(options.sigma_spacing == SigmaSpacing::kFlow, "sigma_spacing flow",
                      "flow_shift", request.flow_shift(), options.flow_shift);
  }
}

void SetDisabledCorrector(const ProtoOptions& request, int max_steps, SamplerOptions& options,
                          Overrides& overrides, FieldViolations& violations) {
  if (request.disable_corrector().empty()) return;
  if (request.disable_corrector_size() > max_steps) {
    return violations.Add("disable_corrector",
                          absl::StrCat("must be at most ", max_steps, " steps"));
  }
  overrides.Set(
      "disable_corrector",
      std::vector<int>(request.disable_corrector().begin(), request.disable_corrector().end()),
      options.disable_corrector);
}

SolverType ResolvedSolverType(const SamplerOptions& options) {
  return options.solver_type.value_or(
      options.sampler == SamplerKind::kUniPc ? SolverType::kBh2 : SolverType::kMidpoint);
}

void AddScheduleFields(const SamplerOptions& options, ProtoOptions& proto) {
  if (options.timesteps.empty()) {
    proto.set_steps(options.steps);
    proto.set_timestep_spacing(EnumToProto(kTimestepSpacings, options.timestep_spacing));
  } else {
    proto.mutable_timesteps()->Assign(options.timesteps.begin(), options.timesteps.end());
  }
}

void AddPredictionFields(const SamplerOptions& options, ProtoOptions& proto) {
  const auto reads = [&](std::string_view name) { return SamplerReads(options.sampler, name); };
  if (reads("clip_sample")) proto.set_clip_sample(options.clip_sample);
  if (reads("clip_sample_range") && options.clip_sample) {
    proto.set_clip_sample_range(options.clip_sample_range);
  }
  if (!reads("thresholding")) return;
  proto.set_thresholding(options.thresholding);
  if (!options.thresholding) return;
  proto.set_dynamic_thresholding_ratio(options.dynamic_thresholding_ratio);
  proto.set_sample_max_value(options.sample_max_value);
}

void AddSamplerFields(const SamplerOptions& options, ProtoOptions& proto) {
  const auto reads = [&](std::string_view name) { return SamplerReads(options.sampler, name); };
  if (reads("variance_type")) {
    proto.set_variance_type(EnumToProto(kVarianceTypes, options.variance_type));
  }
  if (reads("eta")) proto.set_eta(options.eta);
  if (reads("use_clipped_model_output")) {
    proto.set_use_clipped_model_output(options.use_clipped_model_output);
  }
  if (reads("step_to_listed_timestep")) {
    proto.set_step_to_listed_timestep(options.step_to_listed_timestep);
  }
  if (reads("sigma_spacing")) {
    proto.set_sigma_spacing(EnumToProto(kSigmaSpacings, options.sigma_spacing));
  }
  if (reads("flow_shift") && options.sigma_spacing == SigmaSpacing::kFlow) {
    proto.set_flow_shift(options.flow_shift);
  }
  if (reads("solver_order")) proto.set_solver_order(options.solver_order);
  if (reads("corrected_third_order") && options.solver_order == 3) {
    proto.set_corrected_third_order(options.corrected_third_order);
  }
  if (reads("solver_type")) {
    proto.set_solver_type(EnumToProto(kSolverTypes, ResolvedSolverType(options)));
  }
  if (reads("lower_order_final")) proto.set_lower_order_final(options.lower_order_final);
  if (reads("euler_at_final")) proto.set_euler_at_final(options.euler_at_final);
  if (reads("final_sigma")) proto.set_final_sigma(EnumToProto(kFinalSigmas, options.final_sigma));
  if (reads("disable_corrector")) {
    proto.mutable_disable_corrector()->Assign(options.disable_corrector.begin(),
                                              options.disable_corrector.end());
  }
}

}  // namespace

ResolvedSampler ResolveSampler(const ProtoOptions& request, const Model& model, int max_steps) {
  FieldViolations violations;
  SamplerOptions options = Defaults(request, model, violations);
  options.steps = std::min(options.steps, max_steps);
  Overrides overrides(options, violations);
  SetSteps(request, max_steps, options, violations);
  if (request.timestep_spacing() != denoised::v1::TIMESTEP_SPACING_UNSPECIFIED &&
      !request.timesteps().empty()) {
    violations.Add("timestep_spacing", "cannot be given together with timesteps");
  }
  overrides.SetEnum("timestep_spacing", kTimestepSpacings, request.timestep_spacing(),
                    options.timestep_spacing);
  SetPrediction(request, options, overrides);
  SetDdpmAndDdim(request, options, overrides);
  SetSolver(request, options, overrides);
  SetDisabledCorrector(request, max_steps, options, overrides, violations);
  return {std::move(options), violations.ToStatus()};
}

ProtoOptions SamplerToProto(const SamplerOptions& options) {
  ProtoOptions proto;
  proto.set_sampler(EnumToProto(kSamplers, options.sampler));
  AddScheduleFields(options, proto);
  AddPredictionFields(options, proto);
  AddSamplerFields(options, proto);
  return proto;
}

}  // namespace denoise
