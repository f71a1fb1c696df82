// The forward process on tensors: how pictures become noise, and the posterior that a sampler
// imitates.
//
// Every function takes one timestep per row, each in [0, T), and x of shape [B, ...]. Ho et al.
// 2020, section 2.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/sampling/schedule.h"

namespace denoise {

// A diagonal Gaussian per row. `variance` is [B, 1, ...], to be broadcast over `mean`.
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

  // q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I), eq. 2.
  Gaussian Step(const at::Tensor& x_previous, const std::vector<int>& t) const;

  // q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I), eq. 4.
  Gaussian Marginal(const at::Tensor& x0, const std::vector<int>& t) const;

  // q(x_{t-1} | x_t, x_0), eqs. 6 and 7. At t = 0 it is the point x_0.
  Gaussian Posterior(const at::Tensor& x0, const at::Tensor& x_t, const std::vector<int>& t) const;

 private:
  double AlphaBarBefore(int t) const;  // 1 before the first timestep

  Schedule schedule_;
};

}  // namespace denoise
