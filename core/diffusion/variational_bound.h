// The variational bound on the bits that a model needs for a picture (Ho et al. 2020, eq. 5), over
// all timesteps of a discrete variance-preserving schedule or some of them:
//
//     L_T = KL(q(x_T | x_0) || N(0, I))                         the prior's term
//     L_t = KL(q(x_s | x_t, x_0) || p(x_s | x_t))               s being the timestep before t
//     L_0 = -log p(x_0 | x_t)                                   at the least noisy timestep
//
// in expectation over q, and in bits per dimension. Conventions are those of the published numbers
// (Nichol & Dhariwal 2021): pixels of 8 bits, and the posterior variance of the second timestep in
// place of that of the first, which is 0.
//
// Tensors are [B, C, H, W] in float32, each row at its own timestep. The arithmetic is in double,
// as the terms are small differences, and lets gradients through.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "absl/status/statusor.h"
#include "core/diffusion/forward_process.h"
#include "core/sampling/options/sampler_options.h"

namespace denoise {

// KL(q || p) of every element, in nats.
at::Tensor KlDivergence(const Gaussian& q, const Gaussian& p);

// log p(x0) of every element, in nats, where p is a Gaussian discretised to the 256 values of 8-bit
// pixels: the integral over a bin of width 2/255, the outermost ones open (Ho et al. 2020, eq. 13).
// At least log 1e-12.
at::Tensor DecoderLogLikelihood(const at::Tensor& x0, const Gaussian& p);

// How to read a network's output.
struct ReverseProcess {
  PredictionType prediction_type = PredictionType::kEpsilon;
  VarianceType variance_type = VarianceType::kFixedSmall;
  bool clip_x0 = false;  // to [-1, 1], where pixels are
};

// Immutable and thread-safe.
class VariationalBound {
 public:
  // `timesteps` are whole and descending; empty stands for all of the schedule. InvalidArgument
  // with field violations "schedule", "prediction_type", "timesteps" where there is no such bound.
  static absl::StatusOr<VariationalBound> Create(const Schedule& schedule,
                                                 const ReverseProcess& reverse,
                                                 std::vector<double> timesteps = {});

  const ForwardProcess& process() const { return process_; }
  const std::vector<double>& timesteps() const { return timesteps_; }

  // What the network's output at x_t means.
  struct Prediction {
    at::Tensor x0;
    Gaussian x_s;  // p(x_s | x_t); of x_0 itself at the least noisy timestep
  };
  // `output` has twice the channels of `x_t` where the variance is learned. Otherwise channels
  // beyond those of x_t are ignored. Every t is one of timesteps(), here and below.
  Prediction Predict(const at::Tensor& output, const at::Tensor& x_t,
                     const std::vector<double>& t) const;

  // L_t or L_0, [B].
  at::Tensor Term(const at::Tensor& x0, const at::Tensor& x_t, const std::vector<double>& t,
                  const Gaussian& x_s) const;

  // L_T, [B].
  at::Tensor Prior(const at::Tensor& x0) const;

 private:
  VariationalBound(const Schedule& schedule, const ReverseProcess& reverse,
                   std::vector<double> timesteps);

  // Of each t: its position in timesteps_, and the timestep before it.
  std::vector<int64_t> Positions(const std::vector<double>& t) const;
  std::vector<double> Before(const std::vector<double>& t) const;
  at::Tensor PredictX0(const at::Tensor& m, const at::Tensor& x_t,
                       const std::vector<double>& t) const;
  at::Tensor ModelVariance(const at::Tensor& output, const at::Tensor& x_t,
                           const std::vector<double>& t) const;
  // Those of `variances` that belong to t, to be broadcast over x.
  at::Tensor RowsOf(const at::Tensor& variances, const std::vector<double>& t,
                    const at::Tensor& x) const;

  ForwardProcess process_;
  ReverseProcess reverse_;
  std::vector<double> timesteps_;
  // Of each step, [timesteps] double on the CPU.
  at::Tensor posterior_variances_;  // of q(x_s | x_t, x_0), the last as the one before it
  at::Tensor step_variances_;       // of q(x_t | x_s): the betas
  // The betas, except that the least noisy step has its posterior variance (the library's
  // fixed_large).
  at::Tensor large_variances_;
};

}  // namespace denoise
