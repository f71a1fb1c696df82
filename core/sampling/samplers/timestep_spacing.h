// Which training timesteps a run of n steps visits (Lin et al. 2023, table 2; the rounding is the
// diffusers library's).
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "core/sampling/options/sampler_options.h"

namespace denoise {

struct SpacingRange {
  int num_train_timesteps;
  // Timesteps from this one on are left out (lambda_min_clipped); num_train_timesteps where all are
  // used.
  int end;
  // The multistep solvers end at a noise level, not at a timestep: leading and linspace lay one
  // more timestep than there are steps, and leave out the last.
  bool leave_out_last;
  // The samplers in sigma do not round linspace timesteps.
  bool fractional = false;
};

// Whole numbers unless `fractional`, none above the one before; two may be equal where steps leave
// no room. InvalidArgument names `steps` or `steps_offset`. Requires 1 <= steps <=
// num_train_timesteps. Fewer than `steps` come back only from trailing spacing with a shortened
// range, which keeps its stride.
absl::StatusOr<std::vector<double>> SpaceTimesteps(const SpacingRange& range,
                                                   const SamplerOptions& options);

// Cuts the training timesteps into as many sections, all but equally long, as `counts` has entries,
// and takes that many of each, evenly from its first to its last; descending (Nichol & Dhariwal
// 2021, section 4). InvalidArgument names `counts`: each at least 1 and no more than its section has.
absl::StatusOr<std::vector<double>> SectionTimesteps(int num_train_timesteps,
                                                     const std::vector<int>& counts);

// Of the options.original_inference_steps timesteps that a network was distilled for, evenly spaced
// up to the schedule's last, options.steps evenly chosen ones, descending (Luo et al. 2023, section
// 4.3). Requires 1 <= steps <= original_inference_steps <= num_train_timesteps.
std::vector<double> DistilledTimesteps(int num_train_timesteps, const SamplerOptions& options);

}  // namespace denoise
