#include "core/diffusion/forward_process.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <utility>

namespace denoise {
namespace {

// One coefficient per row, computed in double: [B, 1, ...] in x's dtype and on its device.
template <typename Function>
at::Tensor PerRow(const std::vector<int>& t, const at::Tensor& x, Function coefficient) {
  std::vector<double> values;
  values.reserve(t.size());
  for (int step : t) values.push_back(coefficient(step));
  std::vector<int64_t> shape(x.dim(), 1);
  shape[0] = static_cast<int64_t>(t.size());
  return at::tensor(values, at::kDouble).to(x.options()).view(shape);
}

}  // namespace

at::Tensor Gaussian::At(const at::Tensor& noise) const { return mean + variance.sqrt() * noise; }

ForwardProcess::ForwardProcess(Schedule schedule) : schedule_(std::move(schedule)) {}

double ForwardProcess::AlphaBarBefore(int t) const {
  return t == 0 ? 1.0 : schedule_.alphas_cumprod()[t - 1];
}

Gaussian ForwardProcess::Step(const at::Tensor& x_previous, const std::vector<int>& t) const {
  const auto& betas = schedule_.betas();
  return {PerRow(t, x_previous, [&](int s) { return std::sqrt(1 - betas[s]); }) * x_previous,
          PerRow(t, x_previous, [&](int s) { return betas[s]; })};
}

Gaussian ForwardProcess::Marginal(const at::Tensor& x0, const std::vector<int>& t) const {
  const auto& alpha_bar = schedule_.alphas_cumprod();
  return {PerRow(t, x0, [&](int s) { return std::sqrt(alpha_bar[s]); }) * x0,
          PerRow(t, x0, [&](int s) { return 1 - alpha_bar[s]; })};
}

Gaussian ForwardProcess::Posterior(const at::Tensor& x0, const at::Tensor& x_t,
                                   const std::vector<int>& t) const {
  const auto& betas = schedule_.betas();
  const auto& alpha_bar = schedule_.alphas_cumprod();
  const auto from_x0 = [&](int s) {
    return std::sqrt(AlphaBarBefore(s)) * betas[s] / (1 - alpha_bar[s]);
  };
  const auto from_x_t = [&](int s) {
    return std::sqrt(1 - betas[s]) * (1 - AlphaBarBefore(s)) / (1 - alpha_bar[s]);
  };
  const auto variance = [&](int s) {
    return (1 - AlphaBarBefore(s)) / (1 - alpha_bar[s]) * betas[s];
  };
  return {PerRow(t, x0, from_x0) * x0 + PerRow(t, x0, from_x_t) * x_t, PerRow(t, x0, variance)};
}

}  // namespace denoise
