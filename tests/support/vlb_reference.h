// tests/data/reference/vlb.json: the variational bound of known pictures, noise and network.
#pragma once

#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/nn/network.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

nlohmann::json LoadVlbReference();

// One case of the file.
struct VlbCase {
  int index;
  nlohmann::json values;

  std::string name() const;  // "linear_FIXED_SMALL_EPSILON_0"
  std::string mean() const { return values.at("mean"); }
  bool is_loop() const { return values.contains("kind"); }
  bool learned() const;  // whether the variance is
  VarianceType variance_type() const;
  // For "EPSILON" and "START_X"; there is none for a network that predicts x_s ("PREVIOUS_X").
  PredictionType prediction_type() const;
  VpOptions schedule() const;
  std::vector<double> Numbers(const char* field) const { return values.at(field); }
};
std::vector<VlbCase> LoadVlbCases();
void PrintTo(const VlbCase& reference, std::ostream* stream);

at::Tensor VlbPictures();                                           // [4, 3, 8, 8]
at::Tensor VlbNoise();                                              // the same shape
inline const std::vector<double> kVlbTimesteps = {0, 1, 500, 999};  // one per row

// m(x, t) = x t / (t + 1). With a learned variance the second half of the channels is the file's
// log variance, tanh(x), or for kLearned exp(tanh(x)), since samplers then read the variance
// itself.
class VlbNetwork : public Network {
 public:
  explicit VlbNetwork(VarianceType variance_type);

  const NetworkSpec& spec() const override { return spec_; }
  at::Device device() const override { return at::kCPU; }
  at::ScalarType dtype() const override { return at::kFloat; }
  at::Tensor Forward(const NetworkInput& input) const override;
  std::shared_ptr<const Network> To(at::Device, at::ScalarType) const override;

 private:
  VarianceType variance_type_;
  NetworkSpec spec_;
};

}  // namespace denoise
