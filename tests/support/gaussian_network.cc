#include "tests/support/gaussian_network.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <stdexcept>
#include <utility>

namespace denoise {

GaussianNetwork::GaussianNetwork(Schedule schedule, GaussianData data, int64_t channels,
                                 int64_t height, int64_t width, Hook hook)
    : schedule_(std::move(schedule)), data_(std::move(data)), hook_(std::move(hook)) {
  spec_ = {
      .sample = {channels, height, width},
      .out_channels = channels,
      .num_class_embeds = data_.means.size() > 1 ? static_cast<int64_t>(data_.means.size()) : 0};
}

// E[x0 | x] = (sigma^2 mean + alpha deviation^2 x) / (alpha^2 deviation^2 + sigma^2), and
// E[epsilon | x] = (x - alpha E[x0 | x]) / sigma = from_x * x + constant.
at::Tensor GaussianNetwork::Forward(const NetworkInput& input) const {
  if (hook_) hook_(input);
  std::vector<float> from_x, constant;
  for (int64_t row = 0; row < input.x.size(0); ++row) {
    const int t = static_cast<int>(input.timesteps[row].item<float>());
    const double mean = data_.means[input.conditions.class_labels.defined()
                                        ? input.conditions.class_labels[row].item<int64_t>()
                                        : 0];
    const double alpha = schedule_.alpha(t), sigma = schedule_.sigma(t);
    const double total = alpha * alpha * data_.deviation * data_.deviation + sigma * sigma;
    from_x.push_back(static_cast<float>(sigma / total));
    constant.push_back(static_cast<float>(-alpha * sigma * mean / total));
  }
  return at::tensor(from_x).view({-1, 1, 1, 1}) * input.x +
         at::tensor(constant).view({-1, 1, 1, 1});
}

std::shared_ptr<const Network> GaussianNetwork::To(at::Device device, at::ScalarType dtype) const {
  if (!device.is_cpu() || dtype != at::kFloat)
    throw std::invalid_argument("lives on the CPU, in float32");
  return std::make_shared<GaussianNetwork>(*this);
}

}  // namespace denoise
