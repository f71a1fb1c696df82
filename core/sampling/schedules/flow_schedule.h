// The noise schedule of flow matching (Lipman et al. 2023; Esser et al. 2024). x moves from the
// image to noise in a straight line,
//
//     x = (1 - sigma) * x0 + sigma * epsilon
//
// for sigma in [0, 1]. The network's timestep is sigma * num_train_timesteps. Immutable.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "core/sampling/schedules/noise_level.h"

namespace denoise {

// How dynamic shifting computes its shift from mu.
enum class TimeShiftType {
  kExponential,  // e^mu
  kLinear,       // mu
};

// The names and defaults of the library's flow matching classes.
struct FlowOptions {
  int num_train_timesteps = 1000;
  double shift = 1;  // towards noise (Esser et al. 2024, eq. 23); 1 is none
  // Use a shift that depends on the image's size instead: mu is linear in the size, from base_shift
  // at base_image_seq_len to max_shift at max_image_seq_len.
  bool use_dynamic_shifting = false;
  TimeShiftType time_shift_type = TimeShiftType::kExponential;
  double base_shift = 0.5;
  double max_shift = 1.15;
  int base_image_seq_len = 256;
  int max_image_seq_len = 4096;
  int64_t image_seq_len = 256;           // the image's size; for a UNet, the number of pixels
  std::optional<double> shift_terminal;  // the last level of a run, below 1
  // The network's timestep is based on 1 - sigma, and it predicts x0 - epsilon.
  bool invert_sigmas = false;
};

// The shift of these options, dynamic or not.
double ShiftOf(const FlowOptions& options);

// `sigma` in [0, 1] shifted towards noise (Esser et al. 2024, eq. 23).
double Shifted(double sigma, double shift);

// The highest sigma for the solvers, which need a finite lambda. The library's value.
inline constexpr double kGreatestSolverSigma = 1 - 1e-6;

class FlowSchedule {
 public:
  // InvalidArgument with field violations named like the members of FlowOptions.
  static absl::StatusOr<FlowSchedule> Create(const FlowOptions& options);

  const FlowOptions& options() const { return options_; }
  int num_train_timesteps() const { return options_.num_train_timesteps; }

  double image_timestep() const { return options_.invert_sigmas ? num_train_timesteps() : 0; }
  // Excludes the image itself, which is never a network's input.
  double timestep_min() const { return options_.invert_sigmas ? 0 : 1; }
  double timestep_max() const { return timestep_min() + num_train_timesteps() - 1; }

  // `timestep` is in [0, num_train_timesteps], where 0 is the image itself; reversed with
  // invert_sigmas.
  NoiseLevel LevelAt(double timestep) const;
  double TimestepOfSigma(double sigma) const;
  // `log_ratio` is log(sigma / (1 - sigma)).
  double TimestepAt(double log_ratio) const;

 private:
  explicit FlowSchedule(const FlowOptions& options) : options_(options) {}

  FlowOptions options_;
};

}  // namespace denoise
