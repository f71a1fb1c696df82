// What tests of objectives share.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>

#include "core/nn/network.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/train/objective.h"

namespace denoise {

// Says what a function says.
class FunctionNetwork : public Network {
 public:
  using Function = std::function<at::Tensor(const NetworkInput&)>;

  FunctionNetwork(int64_t in_channels, int64_t out_channels, Function function)
      : spec_{.sample = {.channels = in_channels}, .out_channels = out_channels},
        function_(std::move(function)) {}

  const NetworkSpec& spec() const override { return spec_; }
  at::Device device() const override { return at::kCPU; }
  at::ScalarType dtype() const override { return at::kFloat; }
  at::Tensor Forward(const NetworkInput& input) const override { return function_(input); }
  std::shared_ptr<const Network> To(at::Device, at::ScalarType) const override {
    throw std::logic_error("stays where it is");
  }

 private:
  NetworkSpec spec_;
  Function function_;
};

inline SchedulerConfig Config(const ScheduleOptions& schedule, PredictionType prediction,
                              VarianceType variance = VarianceType::kFixedSmall) {
  SchedulerConfig config;
  config.schedule = schedule;
  config.sampler.prediction_type = prediction;
  config.sampler.variance_type = variance;
  return config;
}

}  // namespace denoise
