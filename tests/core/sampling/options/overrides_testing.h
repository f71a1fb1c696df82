// Overrides that the core, the command line and the server are tested with alike.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "core/base/field_violations.h"
#include "core/sampling/options/option_table.h"
#include "core/sampling/options/sampler_overrides.h"

namespace denoise {

// A value that is set, whichever.
template <class T>
void SetSomething(std::optional<T>& setting) {
  setting = T{};
}

template <class T>
void SetSomething(std::vector<T>& setting) {
  setting = {T{1}};
}

inline SamplerOverrides EverythingSet() {
  SamplerOverrides overrides;
  ForEachOption([&](const auto& option) { SetSomething(overrides.*option.in_overrides); });
  return overrides;
}

// What the defaults of the sampler that is named do not go with, where there are up to 1000 steps.
struct RefusedOverrides {
  std::vector<std::string> flags;  // how the command line says it
  SamplerOverrides overrides;
  std::vector<FieldViolation> violations;
};

inline std::vector<RefusedOverrides> OverridesToRefuse() {
  constexpr auto kDdpm = SamplerKind::kDdpm;
  constexpr auto kDdim = SamplerKind::kDdim;
  constexpr auto kDpmpp = SamplerKind::kDpmSolverPlusPlus;
  constexpr auto kUniPc = SamplerKind::kUniPc;
  constexpr auto kEuler = SamplerKind::kEuler;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return {
      {{"--sampler", "ddpm", "--eta", "0"},
       {.sampler = kDdpm, .eta = 0},
       {{"eta", "is not an option of ddpm"}}},
      {{"--sampler", "unipc", "--corrected-third-order", "true"},
       {.sampler = kUniPc, .corrected_third_order = true},
       {{"corrected_third_order", "is not an option of unipc"}}},
      {{"--sampler", "ddim", "--clip-sample", "false", "--clip-sample-range", "2"},
       {.sampler = kDdim, .clip_sample = false, .clip_sample_range = 2},
       {{"clip_sample_range", "has no effect without clip_sample"}}},
      {{"--sampler", "dpmpp", "--dynamic-thresholding-ratio", "0.9"},
       {.sampler = kDpmpp, .dynamic_thresholding_ratio = 0.9},
       {{"dynamic_thresholding_ratio", "has no effect without thresholding"}}},
      {{"--sampler", "ddpm", "--thresholding", "false", "--sample-max-value", "2"},
       {.sampler = kDdpm, .thresholding = false, .sample_max_value = 2},
       {{"sample_max_value", "has no effect without thresholding"}}},
      {{"--sampler", "unipc", "--sigma-spacing", "karras", "--flow-shift", "3"},
       {.sampler = kUniPc, .sigma_spacing = SigmaSpacing::kKarras, .flow_shift = 3},
       {{"flow_shift", "has no effect without sigma_spacing flow"}}},
      {{"--sampler", "dpmpp_2m", "--corrected-third-order", "true"},
       {.sampler = kDpmpp, .solver_order = 2, .corrected_third_order = true},
       {{"corrected_third_order", "has no effect without solver_order 3"}}},
      {{"--sampler", "euler", "--s-churn", "0", "--s-tmax", "5"},
       {.sampler = kEuler, .s_churn = 0, .s_tmax = 5},
       {{"s_tmax", "has no effect without s_churn"}}},
      {{"--sampler", "euler", "--rho", "5"},
       {.sampler = kEuler, .rho = 5},
       {{"rho", "has no effect without sigma_spacing karras"}}},
      {{"--sampler", "euler", "--sigma-max", "50"},
       {.sampler = kEuler, .sigma_max = 50},
       {{"sigma_max", "has no effect without sigma_spacing karras, exponential, lu or beta"}}},
      {{"--sampler", "ddim", "--rescale-betas-zero-snr", "true"},
       {.sampler = kDdim, .rescale_betas_zero_snr = true},
       {{"rescale_betas_zero_snr",
         "needs a network that predicts v or x0: without signal its noise says nothing about x0"}}},
      {{"--sampler", "euler_a", "--s-churn", "1"},
       {.sampler = SamplerKind::kEulerAncestral, .s_churn = 1},
       {{"s_churn", "is not an option of euler_a"}}},
      {{"--sampler", "lcm", "--timestep-spacing", "trailing"},
       {.sampler = SamplerKind::kLcm, .timestep_spacing = TimestepSpacing::kTrailing},
       {{"timestep_spacing", "is not an option of lcm"}}},
      {{"--sampler", "tcd", "--timesteps", "900,5", "--original-inference-steps", "10"},
       {.sampler = SamplerKind::kTcd, .timesteps = {900, 5}, .original_inference_steps = 10},
       {{"original_inference_steps", "cannot be given together with timesteps"}}},
      {{"--sampler", "ddim", "--timesteps", "900,5", "--step-to-listed-timestep", "true"},
       {.sampler = kDdim, .timesteps = {900, 5}, .step_to_listed_timestep = true},
       {{"step_to_listed_timestep", "cannot be given together with timesteps"}}},
      {{"--sampler", "dpmpp", "--sigma-spacing", "karras", "--timestep-spacing", "trailing"},
       {.sampler = kDpmpp,
        .timestep_spacing = TimestepSpacing::kTrailing,
        .sigma_spacing = SigmaSpacing::kKarras},
       {{"timestep_spacing",
         "has no effect with timesteps, sigmas or, in a solver, a sigma_spacing"}}},
      {{"--sampler", "euler", "--sigmas", "9,3", "--sigma-spacing", "beta"},
       {.sampler = kEuler, .sigmas = {9, 3}, .sigma_spacing = SigmaSpacing::kBeta},
       {{"sigma_spacing", "cannot be given together with sigmas"}}},
      {{"--sampler", "euler", "--steps", "2", "--sigmas", "9,3"},
       {.sampler = kEuler, .steps = 2, .sigmas = {9, 3}},
       {{"sigmas", "cannot be given together with steps"}}},
      {{"--sampler", "euler", "--timesteps", "900,5", "--sigmas", "9,3"},
       {.sampler = kEuler, .timesteps = {900, 5}, .sigmas = {9, 3}},
       {{"sigmas", "cannot be given together with timesteps"}}},
      {{"--sampler", "euler", "--sigmas", "inf,3"},
       {.sampler = kEuler, .sigmas = {kInfinity, 3}},
       {{"sigmas[0]", "must be finite"}}},
      {{"--sampler", "ddim", "--sigmas", "9,3"},
       {.sampler = kDdim, .sigmas = {9, 3}},
       {{"sigmas", "is not an option of ddim"}}},
      {{"--sampler", "ddpm", "--thresholding", "true", "--clip-sample", "true"},
       {.sampler = kDdpm, .clip_sample = true, .thresholding = true},
       {{"clip_sample", "has no effect with thresholding"}}},
      {{"--sampler", "dpmpp", "--solver-order", "1", "--solver-type", "heun"},
       {.sampler = kDpmpp, .solver_order = 1, .solver_type = SolverType::kHeun},
       {{"solver_type", "has no effect at solver_order 1"}}},
      {{"--sampler", "unipc", "--solver-order", "1", "--lower-order-final", "true"},
       {.sampler = kUniPc, .solver_order = 1, .lower_order_final = true},
       {{"lower_order_final",
         "has no effect at solver_order 1, or in a singlestep solver without final_sigma "
         "sigma_min"}}},
      {{"--sampler", "dpmpp_2s", "--lower-order-final", "true"},
       {.sampler = SamplerKind::kDpmSolverPlusPlusSinglestep,
        .solver_order = 2,
        .lower_order_final = true},
       {{"lower_order_final",
         "has no effect at solver_order 1, or in a singlestep solver without final_sigma "
         "sigma_min"}}},
      {{"--sampler", "dpmpp", "--euler-at-final", "true"},
       {.sampler = kDpmpp, .euler_at_final = true},
       {{"euler_at_final", "has no effect at solver_order 1, or without final_sigma sigma_min"}}},
      {{"--sampler", "ddim", "--noise-temperature", "0.9"},
       {.sampler = kDdim, .noise_temperature = 0.9},
       {{"noise_temperature",
         "has no effect without noise: eta of ddim and tcd, s_churn of euler and heun"}}},
      {{"--sampler", "unipc", "--noise-temperature", "0.9"},
       {.sampler = kUniPc, .noise_temperature = 0.9},
       {{"noise_temperature", "is not an option of unipc"}}},
      {{"--sampler", "euler_a", "--noise-temperature", "inf"},
       {.sampler = SamplerKind::kEulerAncestral, .noise_temperature = kInfinity},
       {{"noise_temperature", "must be finite"}}},
      {{"--sampler", "ddim", "--steps", "0"},
       {.sampler = kDdim, .steps = 0},
       {{"steps", "must be between 1 and 1000, is 0"}}},
      {{"--sampler", "ddim", "--steps", "1001"},
       {.sampler = kDdim, .steps = 1001},
       {{"steps", "must be between 1 and 1000, is 1001"}}},
      {{"--sampler", "ddim", "--steps", "2", "--timesteps", "900,5"},
       {.sampler = kDdim, .steps = 2, .timesteps = {900, 5}},
       {{"timesteps", "cannot be given together with steps"}}},
      {{"--sampler", "ddim", "--timesteps", "900,5", "--timestep-spacing", "leading"},
       {.sampler = kDdim, .timesteps = {900, 5}, .timestep_spacing = TimestepSpacing::kLeading},
       {{"timestep_spacing",
         "has no effect with timesteps, sigmas or, in a solver, a sigma_spacing"}}},
      {{"--sampler", "ddim", "--timesteps", "900,inf"},
       {.sampler = kDdim, .timesteps = {900, kInfinity}},
       {{"timesteps[1]", "must be finite"}}},
      {{"--sampler", "ddim", "--eta", "inf"},
       {.sampler = kDdim, .eta = kInfinity},
       {{"eta", "must be finite"}}},
      {{"--sampler", "dpmpp", "--sigma-spacing", "flow", "--flow-shift", "inf"},
       {.sampler = kDpmpp, .sigma_spacing = SigmaSpacing::kFlow, .flow_shift = kInfinity},
       {{"flow_shift", "must be finite"}}},
      {{"--sampler", "ddpm", "--steps", "-1", "--solver-order", "2"},
       {.sampler = kDdpm, .steps = -1, .solver_order = 2},
       {{"steps", "must be between 1 and 1000, is -1"},
        {"solver_order", "is not an option of ddpm"}}},
  };
}

}  // namespace denoise
