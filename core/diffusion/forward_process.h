// The forward process on tensors: how pictures become noise, and the posterior that a sampler
// imitates.
//
// It follows from the levels alone, x_t = alpha_t x_0 + sigma_t epsilon, whatever family the
// schedule is of: with alpha_ts = alpha_t / alpha_s and sigma_ts^2 = sigma_t^2 - alpha_ts^2
// sigma_s^2 for s less noisy than t (Kingma et al. 2021, section 2 and appendix A). On neighbouring
// timesteps of DDPM these are its sqrt(1 - beta_t) and beta_t (Ho et al. 2020, section 2).
//
// Every function takes one timestep per row, as the schedule's LevelAt does, and x of shape [B,
// ...].
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/sampling/schedules/schedule.h"

namespace denoise {

// A diagonal Gaussian per row. `variance` is [B, 1, ...], to be broadcast over `mean`, or of its
// shape.
struct Gaussian {
  at::Tensor mean;
  at::Tensor variance;

  // mean + sqrt(variance) * noise, for standard normal `noise` of the mean's shape.
  at::Tensor At(const at::Tensor& noise) const;
};

class ForwardProcess {
 public:
  explicit ForwardProcess(Schedule schedule);

  const Schedule& schedule() const { return schedule_; }

  // q(x_t | x_0) = N(alpha_t x_0, sigma_t^2 I).
  Gaussian Marginal(const at::Tensor& x0, const std::vector<double>& t) const;

  // q(x_t | x_s) = N(alpha_ts x_s, sigma_ts^2 I). There is signal at s.
  Gaussian Step(const at::Tensor& x_s, const std::vector<double>& s,
                const std::vector<double>& t) const;

  // q(x_s | x_t, x_0), by Bayes' rule. There is signal at s and noise at t. Without noise at s it
  // is the point x_0.
  Gaussian Posterior(const at::Tensor& x0, const at::Tensor& x_t, const std::vector<double>& s,
                     const std::vector<double>& t) const;

 private:
  Schedule schedule_;
};

}  // namespace denoise
