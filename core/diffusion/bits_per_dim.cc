#include "core/diffusion/bits_per_dim.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/stack.h>
#include <c10/core/GradMode.h>

#include <utility>

#include "core/base/check.h"
#include "core/diffusion/noise_source.h"

namespace denoise {
namespace {

at::Tensor MeanSquare(const at::Tensor& error) {
  return at::pow(error, 2).flatten(1).mean(1).to(at::kCPU);
}

}  // namespace

NoiseFunction NoiseOfSeeds(const std::vector<uint64_t>& seeds) {
  std::vector<NoiseSource> sources(seeds.begin(), seeds.end());
  return [sources](at::IntArrayRef shape) mutable {
    DENOISE_DCHECK(shape.front() == static_cast<int64_t>(sources.size()));
    std::vector<at::Tensor> rows;
    for (NoiseSource& source : sources) rows.push_back(source.Draw(shape.slice(1)));
    return at::stack(rows);
  };
}

BitsPerDimRun::BitsPerDimRun(VariationalBound bound, at::Tensor x0, at::Tensor class_labels,
                             NoiseFunction noise)
    : bound_(std::move(bound)),
      x0_(std::move(x0)),
      class_labels_(std::move(class_labels)),
      draw_noise_(std::move(noise)) {
  DENOISE_DCHECK(x0_.dim() == 4 && x0_.scalar_type() == at::kFloat);
  DENOISE_DCHECK(!class_labels_.defined() || class_labels_.sizes() == x0_.sizes().slice(0, 1));
}

void BitsPerDimRun::Advance(const Network& network) {
  DENOISE_DCHECK(!done());
  const c10::NoGradGuard no_grad;
  if (!noise_.defined()) noise_ = draw_noise_(x0_.sizes()).to(x0_.device());
  const double timestep = bound_.timesteps()[calls_done()];
  const at::Tensor timesteps = at::full({x0_.size(0)}, timestep, x0_.options());
  const at::Tensor x_t =
      bound_.process().Marginal(x0_, std::vector<double>(x0_.size(0), timestep)).At(noise_);
  Measure(x_t, noise_, network.Forward({x_t, timesteps, {.class_labels = class_labels_}}));
  noise_ = at::Tensor();
}

void BitsPerDimRun::Measure(const at::Tensor& x_t, const at::Tensor& noise,
                            const at::Tensor& output) {
  const double timestep = bound_.timesteps()[calls_done()];
  const std::vector<double> timesteps(static_cast<size_t>(x0_.size(0)), timestep);
  const NoiseLevel level = bound_.process().schedule().LevelAt(timestep);
  const VariationalBound::Prediction predicted = bound_.Predict(output, x_t, timesteps);
  const at::Tensor epsilon = (x_t - level.alpha * predicted.x0) / level.sigma;
  const at::Tensor x0_mse = MeanSquare(predicted.x0 - x0_),
                   epsilon_mse = MeanSquare(epsilon - noise);
  vb_.push_back(bound_.Term(x0_, x_t, timesteps, predicted.x_s).to(at::kCPU));
  x0_mse_.push_back(x0_mse);
  epsilon_mse_.push_back(epsilon_mse);
}

BitsPerDim BitsPerDimRun::Result() const {
  DENOISE_DCHECK(done());
  const at::Tensor vb = at::stack(vb_, 1), prior = bound_.Prior(x0_).to(at::kCPU);
  return {.total = prior + vb.sum(1),
          .prior = prior,
          .vb = vb,
          .x0_mse = at::stack(x0_mse_, 1),
          .epsilon_mse = at::stack(epsilon_mse_, 1)};
}

}  // namespace denoise
