// The options that a request sets: applied over the defaults, and echoed as resolved.
//
// The command line and the protocol both use this, so they refuse the same things in the same
// words.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "core/sampling/options/sampler_options.h"

namespace denoise {

// What was set. Members are named like those of SamplerOptions; unset ones are absent or empty
// lists.
struct SamplerOverrides {
  std::optional<SamplerKind> sampler;
  std::optional<int> steps;
  std::vector<double> timesteps;
  std::vector<double> sigmas;
  std::optional<PredictionType> prediction_type;
  std::optional<TimestepSpacing> timestep_spacing;
  std::optional<int> steps_offset;

  std::optional<bool> clip_sample;
  std::optional<double> clip_sample_range;
  std::optional<bool> thresholding;
  std::optional<double> dynamic_thresholding_ratio;
  std::optional<double> sample_max_value;

  std::optional<VarianceType> variance_type;

  std::optional<double> eta;
  std::optional<bool> use_clipped_model_output;
  std::optional<bool> set_alpha_to_one;
  std::optional<bool> step_to_listed_timestep;

  std::optional<int> original_inference_steps;
  std::optional<double> timestep_scaling;

  std::optional<int> solver_order;
  std::optional<SolverType> solver_type;
  std::optional<bool> lower_order_final;
  std::optional<bool> euler_at_final;
  std::optional<FinalSigma> final_sigma;
  std::optional<SigmaSpacing> sigma_spacing;
  std::optional<double> flow_shift;
  std::optional<double> sigma_min;
  std::optional<double> sigma_max;
  std::optional<double> rho;
  std::optional<bool> rescale_betas_zero_snr;
  std::optional<InterpolationType> interpolation_type;
  std::optional<TimestepType> timestep_type;
  std::optional<double> lambda_min_clipped;
  std::vector<int> disable_corrector;
  std::optional<bool> predict_x0;
  std::optional<double> s_churn;
  std::optional<double> s_tmin;
  std::optional<double> s_tmax;
  std::optional<double> s_noise;
  std::optional<double> noise_temperature;
  std::optional<bool> corrected_third_order;

  bool operator==(const SamplerOverrides&) const = default;
};

struct ResolvedSampler {
  SamplerOptions options;
  absl::Status violations;  // OK, or InvalidArgument with a violation per field
};

// Applies `overrides` to `defaults`, which must be those of the sampler that `overrides` names, if
// any. Default steps above `max_steps` are reduced to it. Violations are: options that the sampler
// does not read, options without effect because another one is off, more than `max_steps` steps,
// and numbers that are not finite. Such values leave the default in `options`, so that the others
// can still be checked. CompilePlan checks whether values suit the sampler and the schedule.
ResolvedSampler ApplyOverrides(const SamplerOptions& defaults, const SamplerOverrides& overrides,
                               int max_steps);

// The value of every option that has an effect. Applied to the defaults of the same sampler, they
// give an equivalent sampler.
SamplerOverrides EffectiveOverrides(SamplerOptions options);

}  // namespace denoise
