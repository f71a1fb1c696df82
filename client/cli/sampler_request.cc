#include "client/cli/sampler_request.h"

#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/sampling/option_names.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// The protocol's enumerations are named as ours are, in capitals and with a prefix:
// SIGMA_SPACING_KARRAS for "karras". Value 0, the model's default, stands for a name that the
// protocol lacks; a test goes through all of them.
template <typename ProtoEnum, typename Enum>
ProtoEnum ProtoValue(std::string_view prefix, Enum value,
                     bool (*parse)(google::protobuf::ConstStringParam, ProtoEnum*)) {
  ProtoEnum result{};
  parse(absl::AsciiStrToUpper(std::string(prefix).append(NameOf(value))), &result);
  return result;
}

void SetEnumerations(const SamplerFlags& flags, v1::SamplerOptions& options) {
  if (flags.sampler.has_value()) {
    options.set_sampler(ProtoValue("SAMPLER_", flags.sampler->sampler, v1::Sampler_Parse));
  }
  if (flags.timestep_spacing.has_value()) {
    options.set_timestep_spacing(
        ProtoValue("TIMESTEP_SPACING_", *flags.timestep_spacing, v1::TimestepSpacing_Parse));
  }
  if (flags.sigma_spacing.has_value()) {
    options.set_sigma_spacing(
        ProtoValue("SIGMA_SPACING_", *flags.sigma_spacing, v1::SigmaSpacing_Parse));
  }
  if (flags.variance_type.has_value()) {
    options.set_variance_type(
        ProtoValue("VARIANCE_TYPE_", *flags.variance_type, v1::VarianceType_Parse));
  }
  if (flags.solver_type.has_value()) {
    options.set_solver_type(ProtoValue("SOLVER_TYPE_", *flags.solver_type, v1::SolverType_Parse));
  }
  if (flags.final_sigma.has_value()) {
    options.set_final_sigma(ProtoValue("FINAL_SIGMA_", *flags.final_sigma, v1::FinalSigma_Parse));
  }
}

// Calls `set` of `options` where there is a value.
template <typename T>
void Set(const std::optional<T>& value, v1::SamplerOptions& options,
         void (v1::SamplerOptions::*set)(T)) {
  if (value.has_value()) (options.*set)(*value);
}

}  // namespace

v1::SamplerOptions ToProto(const SamplerFlags& flags) {
  using Options = v1::SamplerOptions;
  Options options;
  SetEnumerations(flags, options);
  Set(flags.steps, options, &Options::set_steps);
  options.mutable_timesteps()->Add(flags.timesteps.begin(), flags.timesteps.end());
  Set(flags.clip_sample, options, &Options::set_clip_sample);
  Set(flags.clip_sample_range, options, &Options::set_clip_sample_range);
  Set(flags.thresholding, options, &Options::set_thresholding);
  Set(flags.dynamic_thresholding_ratio, options, &Options::set_dynamic_thresholding_ratio);
  Set(flags.sample_max_value, options, &Options::set_sample_max_value);
  Set(flags.eta, options, &Options::set_eta);
  Set(flags.use_clipped_model_output, options, &Options::set_use_clipped_model_output);
  Set(flags.step_to_listed_timestep, options, &Options::set_step_to_listed_timestep);
  Set(flags.ResolvedSolverOrder(), options, &Options::set_solver_order);
  Set(flags.lower_order_final, options, &Options::set_lower_order_final);
  Set(flags.euler_at_final, options, &Options::set_euler_at_final);
  Set(flags.flow_shift, options, &Options::set_flow_shift);
  Set(flags.corrected_third_order, options, &Options::set_corrected_third_order);
  options.mutable_disable_corrector()->Add(flags.disable_corrector.begin(),
                                           flags.disable_corrector.end());
  return options;
}

std::string SamplerFlagName(const v1::SamplerOptions& options) {
  constexpr size_t kPrefixLength = sizeof("SAMPLER_") - 1;
  if (options.sampler() == v1::SAMPLER_UNSPECIFIED) return "default";
  if (!v1::Sampler_IsValid(options.sampler())) return "unknown";
  std::string name =
      absl::AsciiStrToLower(v1::Sampler_Name(options.sampler()).substr(kPrefixLength));
  if (!options.has_solver_order()) return name;
  // The order is part of the name where --sampler has such a name.
  for (const char* suffix : {"m", ""}) {
    const std::string with_order = absl::StrCat(name, "_", options.solver_order(), suffix);
    if (ParseSampler(with_order).has_value()) return with_order;
  }
  return name;
}

}  // namespace denoise
