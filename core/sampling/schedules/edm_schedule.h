// The noise schedule of EDM (Karras et al. 2022) and of consistency models (Song et al. 2023):
// x = x0 + sigma * epsilon for any sigma, with a preconditioned network. Immutable.
#pragma once

#include <cmath>
#include <limits>

#include "absl/status/statusor.h"
#include "core/sampling/schedules/noise_level.h"
#include "core/sampling/schedules/preconditioning.h"

namespace denoise {

// The names and defaults are those of the library's EDM classes.
struct EdmOptions {
  double sigma_min = 0.002;
  double sigma_max = 80;
  double sigma_data = 0.5;  // the standard deviation of the data
  double rho = 7;           // of Karras spacing
  int num_train_timesteps = 1000;
  // The network predicts the end of the trajectory, at sigma_min. It was trained at
  // num_train_timesteps levels of sigma.
  bool consistency_model = false;
};

class EdmSchedule {
 public:
  // InvalidArgument with field violations named like the members of EdmOptions.
  static absl::StatusOr<EdmSchedule> Create(const EdmOptions& options);

  const EdmOptions& options() const { return options_; }
  int num_train_timesteps() const { return options_.num_train_timesteps; }
  Preconditioning preconditioning() const;

  double image_timestep() const { return -std::numeric_limits<double>::infinity(); }
  double timestep_min() const { return TimestepAt(std::log(options_.sigma_min)); }
  double timestep_max() const { return TimestepAt(std::log(options_.sigma_max)); }

  // `timestep` is 0.25 log sigma (Karras et al. 2022, table 1, c_noise), or 1000 times that for
  // consistency models; -inf is the image itself.
  NoiseLevel LevelAt(double timestep) const;
  double TimestepAt(double log_ratio) const;

 private:
  explicit EdmSchedule(const EdmOptions& options) : options_(options) {}

  EdmOptions options_;
};

}  // namespace denoise
