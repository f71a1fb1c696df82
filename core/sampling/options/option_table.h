// The table of sampler options: one line for each member of SamplerOptions.
//
// Flags, messages, checks and echoes are loops over this table. A new option needs a member of
// SamplerOptions and of SamplerOverrides, a line here and, unless it belongs to checkpoints, a
// field of denoised.v1.SamplerOptions with the same name.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/sampling/options/sampler_options.h"
#include "core/sampling/options/sampler_overrides.h"

namespace denoise {

using SamplerSet = uint32_t;  // a bit per SamplerKind

constexpr SamplerSet In(SamplerKind sampler) { return 1u << static_cast<int>(sampler); }

enum class OptionSource {
  kRequest,     // any request may set it
  kCheckpoint,  // a property of the network, like what it predicts; no request can change it
};

// The condition for an option to have an effect. If it does not hold, the option is refused and not
// echoed.
struct OptionCondition {
  bool (*holds)(const SamplerOptions&) = [](const SamplerOptions&) { return true; };
  std::string_view otherwise;  // "has no effect without clip_sample"
};

// `Setting` is std::optional<Value>, or the same list type as `Value`.
template <class Value, class Setting>
struct OptionEntry {
  std::string_view name;  // of both members, the message's field and, with dashes, the flag
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
inline constexpr SamplerSet kMultistep = kOde | In(SamplerKind::kSdeDpmSolverPlusPlus);
inline constexpr SamplerSet kSinglestep = In(SamplerKind::kDpmSolverSinglestep) |
                                          In(SamplerKind::kDpmSolverPlusPlusSinglestep) |
                                          In(SamplerKind::kSdeDpmSolverPlusPlusSinglestep);
inline constexpr SamplerSet kDpm = kMultistep | kSinglestep;
inline constexpr SamplerSet kUniPc = In(SamplerKind::kUniPc);
inline constexpr SamplerSet kSolvers = kDpm | kUniPc | In(SamplerKind::kDeis);
inline constexpr SamplerSet kEuler = In(SamplerKind::kEuler);
inline constexpr SamplerSet kHeun = In(SamplerKind::kHeun);
// The samplers in sigma, whose state is x / alpha.
inline constexpr SamplerSet kSigma = kEuler | In(SamplerKind::kEulerAncestral) | kHeun;
inline constexpr SamplerSet kPndm = In(SamplerKind::kPndm) | In(SamplerKind::kPlms);
inline constexpr SamplerSet kLcm = In(SamplerKind::kLcm);
inline constexpr SamplerSet kTcd = In(SamplerKind::kTcd);
// Samplers of networks that were distilled for a few timesteps.
inline constexpr SamplerSet kDistilled = kLcm | kTcd;
inline constexpr SamplerSet kConsistency = In(SamplerKind::kConsistency);
inline constexpr SamplerSet kVp = In(SamplerKind::kVpSde) | In(SamplerKind::kVpOde);
// Samplers with the churn of Karras et al. 2022.
inline constexpr SamplerSet kChurning = kEuler | kHeun;
inline constexpr SamplerSet kStochastic =
    kDdpm | kDdim | kDistilled | kConsistency | kChurning | In(SamplerKind::kEulerAncestral) |
    In(SamplerKind::kSdeDpmSolverPlusPlus) | In(SamplerKind::kSdeDpmSolverPlusPlusSinglestep) |
    In(SamplerKind::kVpSde);
inline constexpr SamplerSet kClipping = kDdpm | kDdim | kHeun | kLcm | kConsistency;
// Samplers whose noise levels may lie between those of timesteps.
inline constexpr SamplerSet kAnyLevel = kSolvers | kSigma | kVp;
inline constexpr SamplerSet kSpaced = kDdpm | kDdim | kPndm | kAnyLevel;
inline constexpr SamplerSet kAll = kSpaced | kDistilled | kConsistency;

inline constexpr OptionCondition kNoTimesteps = {
    [](const Options& o) { return o.timesteps.empty(); },
    "cannot be given together with timesteps"};
inline constexpr OptionCondition kNoSigmas = {[](const Options& o) { return o.sigmas.empty(); },
                                              "cannot be given together with sigmas"};
inline constexpr OptionCondition kNoList = {
    [](const Options& o) { return o.timesteps.empty() && o.sigmas.empty(); },
    "cannot be given together with timesteps or sigmas"};

// Whether timesteps are laid out at all. The solvers' other spacings use only noise levels.
inline bool LaysOutTimesteps(const Options& o) {
  const bool solver = (In(o.sampler) & kSolvers) != 0;
  return kNoList.holds(o) && !(solver && o.sigma_spacing != SigmaSpacing::kTimesteps);
}
// Samplers in sigma also start by the spacing, with any list: see StartSigmaPlan.
inline constexpr OptionCondition kReadsSpacing = {
    [](const Options& o) { return LaysOutTimesteps(o) || (In(o.sampler) & kSigma) != 0; },
    "has no effect with timesteps, sigmas or, in a solver, a sigma_spacing"};
inline constexpr OptionCondition kLeading = {
    [](const Options& o) {
      return LaysOutTimesteps(o) && o.timestep_spacing == TimestepSpacing::kLeading;
    },
    "has no effect without timesteps laid out by timestep_spacing leading"};
inline constexpr OptionCondition kNoThresholding = {
    [](const Options& o) { return !o.thresholding; }, "has no effect with thresholding"};
inline constexpr OptionCondition kClipSample = {
    [](const Options& o) { return o.clip_sample && !o.thresholding; },
    "has no effect without clip_sample"};
inline constexpr OptionCondition kThresholding = {[](const Options& o) { return o.thresholding; },
                                                  "has no effect without thresholding"};
inline constexpr OptionCondition kHigherOrder = {
    [](const Options& o) { return o.solver_order > 1; }, "has no effect at solver_order 1"};
// UniPC's corrector also has a form at order 1.
inline constexpr OptionCondition kHasForm = {
    [](const Options& o) { return o.solver_order > 1 || o.sampler == SamplerKind::kUniPc; },
    "has no effect at solver_order 1"};
// A run that ends without noise always ends with order 1.
inline constexpr OptionCondition kHigherOrderToTheEnd = {
    [](const Options& o) { return o.solver_order > 1 && o.final_sigma == FinalSigma::kSigmaMin; },
    "has no effect at solver_order 1, or without final_sigma sigma_min"};
inline constexpr OptionCondition kLowerOrderFinal = {
    [](const Options& o) {
      return ((In(o.sampler) & kSinglestep) != 0 ? kHigherOrderToTheEnd : kHigherOrder).holds(o);
    },
    "has no effect at solver_order 1, or in a singlestep solver without final_sigma sigma_min"};
inline constexpr OptionCondition kThirdOrder = {
    [](const Options& o) { return o.solver_order == 3; }, "has no effect without solver_order 3"};
inline constexpr OptionCondition kChurn = {[](const Options& o) { return o.s_churn != 0; },
                                           "has no effect without s_churn"};
inline constexpr OptionCondition kFreshNoise = {
    [](const Options& o) { return o.s_churn != 0 || o.sampler == SamplerKind::kConsistency; },
    "has no effect without s_churn"};
inline constexpr OptionCondition kFlow = {
    [](const Options& o) {
      return o.timesteps.empty() &&
             (o.sigma_spacing == SigmaSpacing::kFlow || IsFlow(o.prediction_type));
    },
    "has no effect without sigma_spacing flow"};
inline constexpr OptionCondition kPredictsWithoutSignal = {
    [](const Options& o) {
      return o.prediction_type == PredictionType::kVPrediction ||
             o.prediction_type == PredictionType::kSample;
    },
    "needs a network that predicts v or x0: without signal its noise says nothing about x0"};

inline constexpr OptionCondition kSigmaRange = {
    [](const Options& o) {
      return kNoList.holds(o) && o.sigma_spacing != SigmaSpacing::kTimesteps &&
             o.sigma_spacing != SigmaSpacing::kFlow;
    },
    "has no effect without sigma_spacing karras, exponential, lu or beta"};
inline constexpr OptionCondition kKarras = {
    [](const Options& o) { return kNoList.holds(o) && o.sigma_spacing == SigmaSpacing::kKarras; },
    "has no effect without sigma_spacing karras"};

inline constexpr OptionCondition kNoisy = {
    [](const Options& o) {
      if ((In(o.sampler) & (kDdim | kTcd)) != 0) return o.eta != 0;
      return (In(o.sampler) & kChurning) == 0 || o.s_churn != 0;
    },
    "has no effect without noise: eta of ddim and tcd, s_churn of euler and heun"};

// Calls `visit` with every OptionEntry. Options are checked in this order, so `sampler` comes
// first, and an option comes after those that its condition reads.
template <class Visit>
void ForEachOption(Visit visit) {
  visit(Option("sampler", &Options::sampler, &Overrides::sampler, kAll, "Sampling algorithm"));
  visit(Option("steps", &Options::steps, &Overrides::steps, kAll,
               "Number of steps along the noise schedule", kNoList));
  visit(Option("timesteps", &Options::timesteps, &Overrides::timesteps, kAll,
               "Custom timesteps, noisiest first, instead of steps"));
  visit(Option("sigmas", &Options::sigmas, &Overrides::sigmas, kAnyLevel,
               "Custom noise levels, of x / alpha, in descending order, instead of steps",
               kNoTimesteps));
  visit(CheckpointOption("prediction_type", &Options::prediction_type, &Overrides::prediction_type,
                         kAll, "What the network predicts"));
  visit(Option("sigma_spacing", &Options::sigma_spacing, &Overrides::sigma_spacing,
               kAnyLevel | kConsistency, "How noise levels are spaced", kNoSigmas));
  visit(Option("timestep_spacing", &Options::timestep_spacing, &Overrides::timestep_spacing,
               kSpaced, "How timesteps are spaced", kReadsSpacing));
  visit(CheckpointOption("steps_offset", &Options::steps_offset, &Overrides::steps_offset, kSpaced,
                         "Offset added to the timesteps of timestep_spacing leading", kLeading));

  visit(Option("thresholding", &Options::thresholding, &Overrides::thresholding, kAll,
               "Apply dynamic thresholding to every predicted image"));
  visit(Option("dynamic_thresholding_ratio", &Options::dynamic_thresholding_ratio,
               &Overrides::dynamic_thresholding_ratio, kAll,
               "Quantile of |x0| that dynamic thresholding clamps to", kThresholding));
  visit(Option("sample_max_value", &Options::sample_max_value, &Overrides::sample_max_value, kAll,
               "Upper bound of the dynamic threshold", kThresholding));
  visit(Option("clip_sample", &Options::clip_sample, &Overrides::clip_sample, kClipping,
               "Clamp every predicted image (ddpm, ddim, heun, lcm, consistency)",
               kNoThresholding));
  visit(Option("clip_sample_range", &Options::clip_sample_range, &Overrides::clip_sample_range,
               kClipping, "Clamp predicted images to plus or minus this value", kClipSample));

  visit(Option("variance_type", &Options::variance_type, &Overrides::variance_type, kDdpm,
               "Variance of the noise in each step of ddpm"));

  visit(Option("eta", &Options::eta, &Overrides::eta, kDdim | kTcd,
               "Noise in ddim and tcd, from 0 (none) to 1 (in ddim, as much as ddpm)"));
  visit(Option("use_clipped_model_output", &Options::use_clipped_model_output,
               &Overrides::use_clipped_model_output, kDdim,
               "Compute the direction of ddim from the clipped image"));
  visit(CheckpointOption(
      "set_alpha_to_one", &Options::set_alpha_to_one, &Overrides::set_alpha_to_one, kDdim | kPndm,
      "End ddim and pndm without noise rather than at the schedule's first level"));
  visit(Option("step_to_listed_timestep", &Options::step_to_listed_timestep,
               &Overrides::step_to_listed_timestep, kDdim,
               "Step ddim to the next timestep in the list instead of by T / steps", kNoTimesteps));

  visit(Option("original_inference_steps", &Options::original_inference_steps,
               &Overrides::original_inference_steps, kDistilled,
               "Number of steps that the network of lcm and tcd was distilled from", kNoTimesteps));
  visit(CheckpointOption("timestep_scaling", &Options::timestep_scaling,
                         &Overrides::timestep_scaling, kLcm,
                         "Factor on timesteps in the boundary condition of lcm"));

  visit(Option("solver_order", &Options::solver_order, &Overrides::solver_order, kSolvers,
               "Order of the solver: 1, 2 or 3"));
  visit(Option("solver_type", &Options::solver_type, &Overrides::solver_type, kDpm | kUniPc,
               "Variant of the solver", kHasForm));
  visit(Option("final_sigma", &Options::final_sigma, &Overrides::final_sigma, kAnyLevel,
               "Noise level at which the run ends"));
  visit(Option("lower_order_final", &Options::lower_order_final, &Overrides::lower_order_final,
               kSolvers, "Lower the order for the last steps", kLowerOrderFinal));
  visit(Option("euler_at_final", &Options::euler_at_final, &Overrides::euler_at_final, kMultistep,
               "Take the last step with order 1", kHigherOrderToTheEnd));
  visit(Option("flow_shift", &Options::flow_shift, &Overrides::flow_shift,
               kSolvers | kChurning | kConsistency,
               "How far flow levels are shifted towards noise; 1 is no shift", kFlow));
  visit(Option("sigma_min", &Options::sigma_min, &Overrides::sigma_min, kAnyLevel,
               "Smallest sigma of sigma_spacing karras, exponential, lu or beta", kSigmaRange));
  visit(Option("sigma_max", &Options::sigma_max, &Overrides::sigma_max, kAnyLevel,
               "Largest sigma of sigma_spacing karras, exponential, lu or beta", kSigmaRange));
  visit(Option("rho", &Options::rho, &Overrides::rho, kAnyLevel,
               "Exponent of sigma_spacing karras; higher values take more steps at low noise",
               kKarras));
  visit(Option("rescale_betas_zero_snr", &Options::rescale_betas_zero_snr,
               &Overrides::rescale_betas_zero_snr, kAll,
               "Rescale the schedule to zero terminal signal-to-noise ratio",
               kPredictsWithoutSignal));
  visit(CheckpointOption("interpolation_type", &Options::interpolation_type,
                         &Overrides::interpolation_type, kEuler,
                         "How euler interpolates noise levels between timesteps"));
  visit(CheckpointOption("timestep_type", &Options::timestep_type, &Overrides::timestep_type,
                         kSolvers | kSigma,
                         "Time input of the network, timesteps or 0.25 log sigma"));
  visit(CheckpointOption(
      "lambda_min_clipped", &Options::lambda_min_clipped, &Overrides::lambda_min_clipped, kDpm,
      "Skip timesteps whose log(alpha / sigma) is below this value", kReadsSpacing));
  visit(Option("disable_corrector", &Options::disable_corrector, &Overrides::disable_corrector,
               kUniPc, "Steps in which unipc skips its corrector"));
  visit(CheckpointOption("predict_x0", &Options::predict_x0, &Overrides::predict_x0, kUniPc,
                         "Whether unipc expands the predicted image, or else the noise"));
  visit(Option("s_churn", &Options::s_churn, &Overrides::s_churn, kChurning,
               "Fresh noise that euler and heun add over the whole run; 0 adds none"));
  visit(Option("s_tmin", &Options::s_tmin, &Overrides::s_tmin, kChurning,
               "Smallest sigma at which fresh noise is added", kChurn));
  visit(Option("s_tmax", &Options::s_tmax, &Overrides::s_tmax, kChurning,
               "Largest sigma at which fresh noise is added", kChurn));
  visit(Option("s_noise", &Options::s_noise, &Overrides::s_noise, kChurning | kConsistency,
               "Standard deviation of the fresh noise", kFreshNoise));
  visit(Option("noise_temperature", &Options::noise_temperature, &Overrides::noise_temperature,
               kStochastic, "Factor on the standard deviation of the noise that the sampler adds",
               kNoisy));
  visit(Option("corrected_third_order", &Options::corrected_third_order,
               &Overrides::corrected_third_order, kMultistep,
               "Restore the factor 2 that is missing from published third-order solvers",
               kThirdOrder));
}

}  // namespace option_table

using option_table::ForEachOption;

}  // namespace denoise
