// The flags that choose a sampler and its options, the same for `plan` and `generate`.
#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "core/sampling/sampler_options.h"

namespace denoise {

// What was given on the command line; what was not is absent, or empty. The members are named as
// the fields of denoised.v1.SamplerOptions, and each flag as its member with dashes.
struct SamplerFlags {
  std::optional<NamedSampler> sampler;
  std::optional<int> steps;
  std::vector<double> timesteps;
  std::optional<TimestepSpacing> timestep_spacing;
  std::optional<SigmaSpacing> sigma_spacing;

  std::optional<bool> clip_sample;
  std::optional<double> clip_sample_range;
  std::optional<bool> thresholding;
  std::optional<double> dynamic_thresholding_ratio;
  std::optional<double> sample_max_value;

  std::optional<VarianceType> variance_type;
  std::optional<double> eta;
  std::optional<bool> use_clipped_model_output;
  std::optional<bool> step_to_listed_timestep;

  std::optional<int> solver_order;  // read through ResolvedSolverOrder
  std::optional<SolverType> solver_type;
  std::optional<bool> lower_order_final;
  std::optional<bool> euler_at_final;
  std::optional<FinalSigma> final_sigma;
  std::optional<double> flow_shift;
  std::vector<int> disable_corrector;
  std::optional<bool> corrected_third_order;

  // --solver-order where it was given, else the order in the sampler's name ("dpmpp_3m").
  std::optional<int> ResolvedSolverOrder() const;
};

// Declares the flags on `app`, which fills `flags` in when it parses. Names are checked then;
// numbers are not. `flags` outlives `app`.
void AddSamplerFlags(CLI::App& app, SamplerFlags& flags);

// Puts what was given over `options`, which are those of the sampler that was named, if one was.
// InvalidArgument names the members that the sampler does not read.
absl::Status ApplySamplerFlags(const SamplerFlags& flags, SamplerOptions& options);

// What comes with a checkpoint and no request can change; `plan` has these flags, too.
struct CheckpointFlags {
  std::optional<PredictionType> prediction_type;
  std::optional<int> steps_offset;
  std::optional<bool> set_alpha_to_one;
  std::optional<double> lambda_min_clipped;
};

// As AddSamplerFlags and ApplySamplerFlags.
void AddCheckpointFlags(CLI::App& app, CheckpointFlags& flags);
absl::Status ApplyCheckpointFlags(const CheckpointFlags& flags, SamplerOptions& options);

}  // namespace denoise
