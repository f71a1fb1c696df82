#include "client/cli/sampler_flags.h"

#include <CLI/Error.hpp>
#include <CLI/Option.hpp>
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/sampling/option_names.h"

namespace denoise {
namespace {

std::string FlagName(std::string_view member) {
  std::string flag = "--" + std::string(member);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

// Declares flags one by one; each is named after its member.
class Declarer {
 public:
  Declarer(CLI::App& app, const char* group) : app_(app), group_(group) {}

  template <typename T>
  CLI::Option* Value(const char* member, T& target, const char* description) {
    return app_.add_option(FlagName(member), target, description)->group(group_);
  }

  template <typename T>
  void List(const char* member, std::vector<T>& target, const char* description) {
    Value(member, target, description)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->type_name("N,N,...");
  }

  template <typename Enum>
  void Name(const char* member, std::optional<Enum>& target, const char* description) {
    Parsed(member, description, NameList<Enum>(), [&target](const std::string& name) {
      target = FromName<Enum>(name);
      return target.has_value();
    });
  }

  // `parse` takes the text and says whether it knows it.
  template <typename Parse>
  void Parsed(const char* member, const char* description, const std::string& names, Parse parse) {
    const std::string flag = FlagName(member);
    const auto callback = [flag, names, parse](const std::string& text) {
      if (!parse(text))
        throw CLI::ValidationError(flag, "must be one of " + names + "; is " + text);
    };
    app_.add_option_function<std::string>(flag, callback, absl::StrCat(description, ": ", names))
        ->type_name("NAME")
        ->group(group_);
  }

 private:
  CLI::App& app_;
  const char* group_;
};

// Overrides options one by one, and notes those that the sampler does not read.
class Overrider {
 public:
  explicit Overrider(SamplerKind sampler) : sampler_(sampler) {}

  template <typename T, typename Option>
  void Override(std::string_view member, const std::optional<T>& value, Option& option) {
    if (value.has_value() && CheckRead(member)) option = *value;
  }

  template <typename T>
  void Override(std::string_view member, const std::vector<T>& values, std::vector<T>& option) {
    if (!values.empty() && CheckRead(member)) option = values;
  }

  absl::Status status() const { return violations_.ToStatus(); }

 private:
  bool CheckRead(std::string_view member) {
    if (SamplerReads(sampler_, member)) return true;
    violations_.Add(member, std::string("is not an option of ").append(SamplerName(sampler_)));
    return false;
  }

  SamplerKind sampler_;
  FieldViolations violations_;
};

}  // namespace

std::optional<int> SamplerFlags::ResolvedSolverOrder() const {
  if (solver_order.has_value() || !sampler.has_value()) return solver_order;
  return sampler->solver_order;
}

void AddSamplerFlags(CLI::App& app, SamplerFlags& flags) {
  Declarer declare(app, "Sampler");
  declare.Parsed("sampler", "The algorithm", SamplerNameList(), [&flags](const std::string& name) {
    flags.sampler = ParseSampler(name);
    return flags.sampler.has_value();
  });
  CLI::Option* const steps = declare.Value("steps", flags.steps, "Moves along the noise schedule");
  declare.List("timesteps", flags.timesteps, "Custom timesteps, descending, in place of --steps");
  app.get_option("--timesteps")->excludes(steps);
  declare.Name("timestep_spacing", flags.timestep_spacing, "How timesteps are laid out");
  app.get_option("--timesteps")->excludes(app.get_option("--timestep-spacing"));
  declare.Name("sigma_spacing", flags.sigma_spacing, "How solvers choose noise levels");

  declare.Value("clip_sample", flags.clip_sample, "Clamp every predicted image (ddpm, ddim)");
  declare.Value("clip_sample_range", flags.clip_sample_range, "Clamp it to +- this");
  declare.Value("thresholding", flags.thresholding,
                "Dynamic thresholding of every predicted image");
  declare.Value("dynamic_thresholding_ratio", flags.dynamic_thresholding_ratio,
                "Its quantile of |x0|");
  declare.Value("sample_max_value", flags.sample_max_value, "Its upper bound");

  declare.Name("variance_type", flags.variance_type, "The variance of a step of ddpm");
  declare.Value("eta", flags.eta, "Noise of ddim: 0 is none, 1 as much as ddpm");
  declare.Value("use_clipped_model_output", flags.use_clipped_model_output,
                "Let ddim take its direction from the clipped image");
  declare.Value("step_to_listed_timestep", flags.step_to_listed_timestep,
                "Let ddim step to the next timestep, not by T / steps");

  declare.Value("solver_order", flags.solver_order, "Order of a solver: 1, 2 or 3");
  declare.Name("solver_type", flags.solver_type, "Form of a solver");
  declare.Value("lower_order_final", flags.lower_order_final,
                "Lower the order over the last steps");
  declare.Value("euler_at_final", flags.euler_at_final, "Take the last step with order 1");
  declare.Name("final_sigma", flags.final_sigma, "Noise level that a solver ends at");
  declare.Value("flow_shift", flags.flow_shift, "Shift of --sigma-spacing flow towards noise");
  declare.List("disable_corrector", flags.disable_corrector, "Steps of unipc without corrector");
  declare.Value("corrected_third_order", flags.corrected_third_order,
                "Put back the factor 2 that third-order solvers are published without");
}

absl::Status ApplySamplerFlags(const SamplerFlags& flags, SamplerOptions& options) {
  Overrider overrider(options.sampler);
  overrider.Override("steps", flags.steps, options.steps);
  overrider.Override("timesteps", flags.timesteps, options.timesteps);
  overrider.Override("timestep_spacing", flags.timestep_spacing, options.timestep_spacing);
  overrider.Override("sigma_spacing", flags.sigma_spacing, options.sigma_spacing);
  overrider.Override("clip_sample", flags.clip_sample, options.clip_sample);
  overrider.Override("clip_sample_range", flags.clip_sample_range, options.clip_sample_range);
  overrider.Override("thresholding", flags.thresholding, options.thresholding);
  overrider.Override("dynamic_thresholding_ratio", flags.dynamic_thresholding_ratio,
                     options.dynamic_thresholding_ratio);
  overrider.Override("sample_max_value", flags.sample_max_value, options.sample_max_value);
  overrider.Override("variance_type", flags.variance_type, options.variance_type);
  overrider.Override("eta", flags.eta, options.eta);
  overrider.Override("use_clipped_model_output", flags.use_clipped_model_output,
                     options.use_clipped_model_output);
  overrider.Override("step_to_listed_timestep", flags.step_to_listed_timestep,
                     options.step_to_listed_timestep);
  overrider.Override("solver_order", flags.ResolvedSolverOrder(), options.solver_order);
  overrider.Override("solver_type", flags.solver_type, options.solver_type);
  overrider.Override("lower_order_final", flags.lower_order_final, options.lower_order_final);
  overrider.Override("euler_at_final", flags.euler_at_final, options.euler_at_final);
  overrider.Override("final_sigma", flags.final_sigma, options.final_sigma);
  overrider.Override("flow_shift", flags.flow_shift, options.flow_shift);
  overrider.Override("disable_corrector", flags.disable_corrector, options.disable_corrector);
  overrider.Override("corrected_third_order", flags.corrected_third_order,
                     options.corrected_third_order);
  return overrider.status();
}

void AddCheckpointFlags(CLI::App& app, CheckpointFlags& flags) {
  Declarer declare(app, "Checkpoint");
  declare.Name("prediction_type", flags.prediction_type, "What the network predicts");
  declare.Value("steps_offset", flags.steps_offset, "Added to leading timesteps");
  declare.Value("set_alpha_to_one", flags.set_alpha_to_one,
                "Let ddim end without noise, not at the schedule's first level");
  declare.Value("lambda_min_clipped", flags.lambda_min_clipped,
                "Leave out timesteps with less log(alpha / sigma) than this");
}

absl::Status ApplyCheckpointFlags(const CheckpointFlags& flags, SamplerOptions& options) {
  Overrider overrider(options.sampler);
  overrider.Override("prediction_type", flags.prediction_type, options.prediction_type);
  overrider.Override("steps_offset", flags.steps_offset, options.steps_offset);
  overrider.Override("set_alpha_to_one", flags.set_alpha_to_one, options.set_alpha_to_one);
  overrider.Override("lambda_min_clipped", flags.lambda_min_clipped, options.lambda_min_clipped);
  return overrider.status();
}

}  // namespace denoise
