// The table of sampler options: one line for each member of SamplerOptions, in its order.
//
// Flags, messages, checks and echoes are loops over this table. A new option is a member of
// SamplerOptions and of SamplerOverrides, a line here and, unless it comes with checkpoints, a field
// of denoised.v1.SamplerOptions of the same name.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/sampling/sampler_options.h"
#include "core/sampling/sampler_overrides.h"

namespace denoise {

using SamplerSet = uint32_t;  // a bit per SamplerKind

constexpr SamplerSet In(SamplerKind sampler) { return 1u << static_cast<int>(sampler); }

enum class OptionSource {
  kRequest,     // anybody may choose it
  kCheckpoint,  // belongs to the network, as what it predicts does; no request can change it
};

// What an option does nothing without. Where that does not hold, the option is refused and is not
// echoed.
struct OptionCondition {
  bool (*holds)(const SamplerOptions&) = [](const SamplerOptions&) { return true; };
  std::string_view otherwise;  // "has no effect without clip_sample"
};

// `Setting` is the optional of `Value`, or the same list.
template <class Value, class Setting>
struct OptionEntry {
  std::string_view name;  // of both members, of the message's field and, with dashes, of the flag
  Value SamplerOptions::*in_options;
  Setting SamplerOverrides::*in_overrides;
  SamplerSet readers;
  const char* help;
  OptionCondition condition;
  OptionSource source;

  bool IsReadBy(SamplerKind sampler) const { return (readers & In(sampler)) != 0; }
  bool HasEffect(const SamplerOptions& options) const {
    return IsReadBy(options.sampler) && condition.holds(options);
  }
};

namespace option_table {

template <class Value, class Setting>
OptionEntry<Value, Setting> Option(std::string_view name, Value SamplerOptions::*in_options,
                                   Setting SamplerOverrides::*in_overrides, SamplerSet readers,
                                   const char* help, OptionCondition condition = {}) {
  return {name, in_options, in_overrides, readers, help, condition, OptionSource::kRequest};
}

template <class Value, class Setting>
OptionEntry<Value, Setting> CheckpointOption(std::string_view name,
                                             Value SamplerOptions::*in_options,
                                             Setting SamplerOverrides::*in_overrides,
                                             SamplerSet readers, const char* help,
                                             OptionCondition condition = {}) {
  return {name, in_options, in_overrides, readers, help, condition, OptionSource::kCheckpoint};
}

using Options = SamplerOptions;
using Overrides = SamplerOverrides;

inline constexpr SamplerSet kDdpm = In(SamplerKind::kDdpm);
inline constexpr SamplerSet kDdim = In(SamplerKind::kDdim);
inline constexpr SamplerSet kOde =
    In(SamplerKind::kDpmSolver) | In(SamplerKind::kDpmSolverPlusPlus);
inline constexpr SamplerSet kDpm = kOde | In(SamplerKind::kSdeDpmSolverPlusPlus);
inline constexpr SamplerSet kUniPc = In(SamplerKind::kUniPc);
inline constexpr SamplerSet kSolvers = kDpm | kUniPc;
inline constexpr SamplerSet kEuler = In(SamplerKind::kEuler);
inline constexpr SamplerSet kHeun = In(SamplerKind::kHeun);
// The samplers in sigma, whose state is x / alpha.
inline constexpr SamplerSet kSigma = kEuler | In(SamplerKind::kEulerAncestral) | kHeun;
inline constexpr SamplerSet kClipping = kDdpm | kDdim | kHeun;
inline constexpr SamplerSet kAll = kDdpm | kDdim | kSolvers | kSigma;

inline constexpr OptionCondition kNoTimesteps = {
    [](const Options& o) { return o.timesteps.empty(); },
    "cannot be given together with timesteps"};
inline constexpr OptionCondition kLeading = {
    [](const Options& o) {
      return o.timesteps.empty() && o.timestep_spacing == TimestepSpacing::kLeading;
    },
    "has no effect with timesteps, or without timestep_spacing leading"};
inline constexpr OptionCondition kClipSample = {[](const Options& o) { return o.clip_sample; },
                                                "has no effect without clip_sample"};
inline constexpr OptionCondition kThresholding = {[](const Options& o) { return o.thresholding; },
                                                  "has no effect without thresholding"};
inline constexpr OptionCondition kThirdOrder = {
    [](const Options& o) { return o.solver_order == 3; }, "has no effect without solver_order 3"};
inline constexpr OptionCondition kChurn = {[](const Options& o) { return o.s_churn != 0; },
                                           "has no effect without s_churn"};
inline constexpr OptionCondition kFlow = {
    [](const Options& o) { return o.sigma_spacing == SigmaSpacing::kFlow; },
    "has no effect without sigma_spacing flow"};

inline constexpr OptionCondition kSigmaRange = {
    [](const Options& o) {
      return o.sigma_spacing != SigmaSpacing::kTimesteps && o.sigma_spacing != SigmaSpacing::kFlow;
    },
    "has no effect without sigma_spacing karras, exponential or lu"};
inline constexpr OptionCondition kKarras = {
    [](const Options& o) { return o.sigma_spacing == SigmaSpacing::kKarras; },
    "has no effect without sigma_spacing karras"};

// Calls `visit` with every OptionEntry. `sampler` comes first and an option after those that its
// condition looks at: options are judged in this order.
template <class Visit>
void ForEachOption(Visit visit) {
  visit(Option("sampler", &Options::sampler, &Overrides::sampler, kAll, "The algorithm"));
  visit(Option("steps", &Options::steps, &Overrides::steps, kAll, "Moves along the noise schedule",
               kNoTimesteps));
  visit(Option("timesteps", &Options::timesteps, &Overrides::timesteps, kAll,
               "Custom timesteps, descending, in place of steps"));
  visit(CheckpointOption("prediction_type", &Options::prediction_type, &Overrides::prediction_type,
                         kAll, "What the network predicts"));
  visit(Option("timestep_spacing", &Options::timestep_spacing, &Overrides::timestep_spacing, kAll,
               "How timesteps are laid out", kNoTimesteps));
  visit(CheckpointOption("steps_offset", &Options::steps_offset, &Overrides::steps_offset, kAll,
                         "Added to leading timesteps", kLeading));

  visit(Option("clip_sample", &Options::clip_sample, &Overrides::clip_sample, kClipping,
               "Clamp every predicted image (ddpm, ddim, heun)"));
  visit(Option("clip_sample_range", &Options::clip_sample_range, &Overrides::clip_sample_range,
               kClipping, "Clamp it to +- this", kClipSample));
  visit(Option("thresholding", &Options::thresholding, &Overrides::thresholding, kAll,
               "Dynamic thresholding of every predicted image"));
  visit(Option("dynamic_thresholding_ratio", &Options::dynamic_thresholding_ratio,
               &Overrides::dynamic_thresholding_ratio, kAll, "Its quantile of |x0|",
               kThresholding));
  visit(Option("sample_max_value", &Options::sample_max_value, &Overrides::sample_max_value, kAll,
               "Its upper bound", kThresholding));

  visit(Option("variance_type", &Options::variance_type, &Overrides::variance_type, kDdpm,
               "The variance of a step of ddpm"));

  visit(Option("eta", &Options::eta, &Overrides::eta, kDdim,
               "Noise of ddim: 0 is none, 1 as much as ddpm"));
  visit(Option("use_clipped_model_output", &Options::use_clipped_model_output,
               &Overrides::use_clipped_model_output, kDdim,
               "Let ddim take its direction from the clipped image"));
  visit(CheckpointOption("set_alpha_to_one", &Options::set_alpha_to_one,
                         &Overrides::set_alpha_to_one, kDdim,
                         "Let ddim end without noise, not at the schedule's first level"));
  visit(Option("step_to_listed_timestep", &Options::step_to_listed_timestep,
               &Overrides::step_to_listed_timestep, kDdim,
               "Let ddim step to the next timestep, not by T / steps"));

  visit(Option("solver_order", &Options::solver_order, &Overrides::solver_order, kSolvers,
               "Order of a solver: 1, 2 or 3"));
  visit(Option("solver_type", &Options::solver_type, &Overrides::solver_type, kSolvers,
               "Form of a solver"));
  visit(Option("lower_order_final", &Options::lower_order_final, &Overrides::lower_order_final,
               kSolvers, "Lower the order over the last steps"));
  visit(Option("euler_at_final", &Options::euler_at_final, &Overrides::euler_at_final, kDpm,
               "Take the last step with order 1"));
  visit(Option("final_sigma", &Options::final_sigma, &Overrides::final_sigma, kSolvers | kSigma,
               "Noise level that a solver ends at"));
  visit(Option("sigma_spacing", &Options::sigma_spacing, &Overrides::sigma_spacing,
               kSolvers | kSigma, "How solvers choose noise levels"));
  visit(Option("flow_shift", &Options::flow_shift, &Overrides::flow_shift, kSolvers,
               "Shift of sigma_spacing flow towards noise", kFlow));
  visit(Option("sigma_min", &Options::sigma_min, &Overrides::sigma_min, kSolvers | kSigma,
               "The least sigma of sigma_spacing karras, exponential, lu", kSigmaRange));
  visit(Option("sigma_max", &Options::sigma_max, &Overrides::sigma_max, kSolvers | kSigma,
               "The greatest sigma of sigma_spacing karras, exponential, lu", kSigmaRange));
  visit(Option("rho", &Options::rho, &Overrides::rho, kSolvers | kSigma,
               "Exponent of sigma_spacing karras: the higher, the more steps with little noise",
               kKarras));
  visit(CheckpointOption("lambda_min_clipped", &Options::lambda_min_clipped,
                         &Overrides::lambda_min_clipped, kDpm,
                         "Leave out timesteps with less log(alpha / sigma) than this"));
  visit(Option("disable_corrector", &Options::disable_corrector, &Overrides::disable_corrector,
               kUniPc, "Steps of unipc without corrector"));
  visit(Option("s_churn", &Options::s_churn, &Overrides::s_churn, kEuler,
               "Fresh noise of euler over the whole run; 0 is none"));
  visit(Option("s_tmin", &Options::s_tmin, &Overrides::s_tmin, kEuler, "Add it from this sigma on",
               kChurn));
  visit(Option("s_tmax", &Options::s_tmax, &Overrides::s_tmax, kEuler, "Add it up to this sigma",
               kChurn));
  visit(Option("s_noise", &Options::s_noise, &Overrides::s_noise, kEuler, "Its standard deviation",
               kChurn));
  visit(Option(
      "corrected_third_order", &Options::corrected_third_order, &Overrides::corrected_third_order,
      kOde, "Put back the factor 2 that third-order solvers are published without", kThirdOrder));
}

}  // namespace option_table

using option_table::ForEachOption;

}  // namespace denoise
