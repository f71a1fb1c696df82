// Which training timesteps a run of n steps visits (Lin et al. 2023, table 2; the rounding is the
// diffusers library's).
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "core/sampling/options/sampler_options.h"

namespace denoise {

struct SpacingRange {
  int num_train_timesteps;
  // Timesteps from this one on are left out (lambda_min_clipped); num_train_timesteps uses all.
  int end;
  // The multistep solvers end at a noise level, not at a timestep. For them, leading and linspace
  // lay out one more timestep than steps and leave out the last.
  bool leave_out_last;
  // The samplers in sigma do not round linspace timesteps.
  bool fractional = false;
};

// Returns whole numbers unless `fractional`, in descending order; two may be equal if there are
// many steps. Requires 1 <= steps <= num_train_timesteps. InvalidArgument names `steps` or
// `steps_offset`. Returns fewer than `steps` only for trailing spacing with a shortened range,
// which keeps its stride.
absl::StatusOr<std::vector<double>> SpaceTimesteps(const SpacingRange& range,
                                                   const SamplerOptions& options);

// Divides the training timesteps into sections of almost equal length, one per entry of `counts`,
// and takes that many from each, evenly spaced from its first to its last, descending (Nichol &
// Dhariwal 2021, section 4). InvalidArgument names `counts`: each must be at least 1 and at most
// its section's length.
absl::StatusOr<std::vector<double>> SectionTimesteps(int num_train_timesteps,
                                                     const std::vector<int>& counts);

// A network was distilled for options.original_inference_steps timesteps, evenly spaced up to the
// schedule's last. Returns options.steps of them, evenly chosen and descending (Luo et al. 2023,
// section 4.3). Requires 1 <= steps <= original_inference_steps <= num_train_timesteps.
std::vector<double> DistilledTimesteps(int num_train_timesteps, const SamplerOptions& options);

}  // namespace denoise
