// The exact denoiser of Gaussian data, for which samplers' results are known in closed form.
#pragma once

#include <functional>
#include <vector>

#include "core/nn/network.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

// Every pixel of class k is independently N(means[k], deviation^2). The network predicts
// E[epsilon | x_t].
struct GaussianData {
  std::vector<double> means = {0.25};
  double deviation = 0.5;
};

class GaussianNetwork : public Network {
 public:
  // Called with the input before every Forward. May block or throw to simulate a slow or failing
  // device.
  using Hook = std::function<void(const NetworkInput&)>;

  GaussianNetwork(Schedule schedule, GaussianData data, int64_t channels, int64_t height,
                  int64_t width, Hook hook = nullptr);

  const NetworkSpec& spec() const override { return spec_; }
  at::Device device() const override { return at::kCPU; }
  at::ScalarType dtype() const override { return at::kFloat; }
  at::Tensor Forward(const NetworkInput& input) const override;
  std::shared_ptr<const Network> To(at::Device device, at::ScalarType dtype) const override;

 private:
  const Schedule schedule_;
  const GaussianData data_;
  const Hook hook_;
  NetworkSpec spec_;
};

}  // namespace denoise
