// The discrete variance-preserving noise schedule of DDPM and most published checkpoints:
//
//     x_t = sqrt(alphas_cumprod[t]) * x_0 + sqrt(1 - alphas_cumprod[t]) * epsilon
//
// (Ho et al. 2020, eq. 4), for whole timesteps t in [0, T). Computes in double on the host.
// Immutable.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "core/sampling/schedules/noise_level.h"

namespace denoise {

enum class BetaSchedule {
  kLinear,           // Ho et al. 2020
  kScaledLinear,     // linear in sqrt(beta): Rombach et al. 2022
  kSquaredCosCapV2,  // cosine: Nichol & Dhariwal 2021, eq. 17
  kSigmoid,          // Xu et al. 2022 (GeoDiff)
};

struct VpOptions {
  BetaSchedule beta_schedule = BetaSchedule::kLinear;
  double beta_start = 1e-4;
  double beta_end = 0.02;
  int num_train_timesteps = 1000;
  std::vector<double> trained_betas;    // replaces the four above unless empty
  bool rescale_betas_zero_snr = false;  // Lin et al. 2023, algorithm 1
};

class VpSchedule {
 public:
  // InvalidArgument with field violations (core/base/field_violations.h) named like the members of
  // VpOptions: betas outside (0, 1), or a number of timesteps outside 1 to kMaxTrainTimesteps.
  static absl::StatusOr<VpSchedule> Create(const VpOptions& options);

  const VpOptions& options() const { return options_; }
  int num_train_timesteps() const { return static_cast<int>(betas_.size()); }
  const std::vector<double>& betas() const { return betas_; }
  const std::vector<double>& alphas_cumprod() const { return alphas_cumprod_; }

  // The range of the networks' inputs, and the image without noise.
  double image_timestep() const { return -1; }
  double timestep_min() const { return 0; }
  double timestep_max() const { return num_train_timesteps() - 1; }

  // `timestep` is in [-1, T - 1], where -1 is the image itself. alphas_cumprod is interpolated
  // linearly between whole timesteps.
  NoiseLevel LevelAt(double timestep) const;

  // sigma / alpha at a timestep in [0, T - 1], interpolated linearly between whole ones, for the
  // samplers in sigma.
  double RatioAt(double timestep) const;

  // The timestep in [0, T - 1] at which sigma / alpha is exp(`log_ratio`), linear in `log_ratio`
  // between whole ones.
  double TimestepAt(double log_ratio) const;

  // This schedule with some signal at its last timestep, for the solvers that divide by it. With
  // zero terminal SNR alphas_cumprod becomes 2^-24 there, which is the library's value and the
  // smallest float16 number.
  VpSchedule WithSignal() const;

 private:
  VpSchedule(VpOptions options, std::vector<double> betas, std::vector<double> alphas_cumprod);

  VpOptions options_;
  std::vector<double> betas_;
  std::vector<double> alphas_cumprod_;
  std::vector<double> log_ratios_;  // log(sigma / alpha), ascending
};

}  // namespace denoise
