// Overrides that the core, the command line and the server are tested with alike.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "core/base/field_violations.h"
#include "core/sampling/option_table.h"
#include "core/sampling/sampler_overrides.h"

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
       {{"sigma_max", "has no effect without sigma_spacing karras, exponential or lu"}}},
      {{"--sampler", "ddim", "--rescale-betas-zero-snr", "true"},
       {.sampler = kDdim, .rescale_betas_zero_snr = true},
       {{"rescale_betas_zero_snr",
         "needs a network that predicts v or x0: without signal its noise says nothing of x0"}}},
      {{"--sampler", "euler_a", "--s-churn", "1"},
       {.sampler = SamplerKind::kEulerAncestral, .s_churn = 1},
       {{"s_churn", "is not an option of euler_a"}}},
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
       {{"timestep_spacing", "cannot be given together with timesteps"}}},
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
