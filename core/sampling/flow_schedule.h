// The noise schedule of flow matching (Lipman et al. 2023; Esser et al. 2024): x goes from the image
// to noise in a straight line,
//
//     x = (1 - sigma) * x0 + sigma * epsilon
//
// at any sigma of [0, 1], and the network is told sigma * num_train_timesteps. Immutable.
#pragma once

#include "absl/status/statusor.h"
#include "core/sampling/noise_level.h"

namespace denoise {

struct FlowOptions {
  int num_train_timesteps = 1000;
};

class FlowSchedule {
 public:
  // InvalidArgument with field violations named as the members of FlowOptions.
  static absl::StatusOr<FlowSchedule> Create(const FlowOptions& options);

  const FlowOptions& options() const { return options_; }
  int num_train_timesteps() const { return options_.num_train_timesteps; }

  double timestep_min() const { return 1; }
  double timestep_max() const { return num_train_timesteps(); }

  // `timestep` in [0, num_train_timesteps], 0 being the image itself.
  NoiseLevel LevelAt(double timestep) const;
  // `log_ratio` is log(sigma / (1 - sigma)).
  double TimestepAt(double log_ratio) const;

 private:
  explicit FlowSchedule(const FlowOptions& options) : options_(options) {}

  FlowOptions options_;
};

}  // namespace denoise
