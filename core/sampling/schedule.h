// Noise levels: how much signal and how much noise x_t holds at each training timestep.
//
//     x_t = alpha_t * x_0 + sigma_t * epsilon
//
// For the discrete variance-preserving schedules alpha_t = sqrt(alphas_cumprod[t]) and sigma_t =
// sqrt(1 - alphas_cumprod[t]) (Ho et al. 2020, eq. 4). Host doubles, immutable, no LibTorch.
#pragma once

#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

enum class BetaSchedule {
  kLinear,           // Ho et al. 2020
  kScaledLinear,     // linear in sqrt(beta): Rombach et al. 2022
  kSquaredCosCapV2,  // cosine: Nichol & Dhariwal 2021, eq. 17
  kSigmoid,          // Xu et al. 2022 (GeoDiff)
};

// More training timesteps than anybody uses, and few enough to be computed in no time.
inline constexpr int kMaxTrainTimesteps = 100000;

struct ScheduleOptions {
  BetaSchedule beta_schedule = BetaSchedule::kLinear;
  double beta_start = 1e-4;
  double beta_end = 0.02;
  int num_train_timesteps = 1000;
  std::vector<double> trained_betas;    // replaces the four above when not empty
  bool rescale_betas_zero_snr = false;  // Lin et al. 2023, algorithm 1
};

class Schedule {
 public:
  // InvalidArgument with field violations (core/base/field_violations.h) named as the members of
  // ScheduleOptions: betas outside (0, 1), no timestep or more than kMaxTrainTimesteps.
  static absl::StatusOr<Schedule> Create(const ScheduleOptions& options);

  int num_train_timesteps() const { return static_cast<int>(betas_.size()); }
  BetaSchedule beta_schedule() const { return beta_schedule_; }
  const std::vector<double>& betas() const { return betas_; }
  const std::vector<double>& alphas_cumprod() const { return alphas_cumprod_; }

  double alpha(int t) const;  // sqrt(alphas_cumprod[t])
  double sigma(int t) const;  // sqrt(1 - alphas_cumprod[t])
  double log_snr(
      int t) const;  // log(alphas_cumprod / (1 - alphas_cumprod)); -inf where there is no signal

 private:
  Schedule(BetaSchedule beta_schedule, std::vector<double> betas);

  BetaSchedule beta_schedule_;
  std::vector<double> betas_;
  std::vector<double> alphas_cumprod_;
};

}  // namespace denoise
