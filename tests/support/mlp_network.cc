#include "tests/support/mlp_network.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/diffusion/noise_source.h"

namespace denoise {
namespace {

constexpr int kLayers = 4;
constexpr int kFrequencies = 6;  // of the time embedding
constexpr int64_t kTimeFeatures = 1 + 2 * kFrequencies;

std::string Name(int layer, const char* part) {
  return "layers." + std::to_string(layer) + "." + part;
}

int64_t Pixels(const MlpOptions& options) { return options.height * options.width; }

class Mlp : public Network {
 public:
  Mlp(const MlpOptions& options, const StateDict& parameters, at::ScalarType dtype)
      : options_(options), dtype_(dtype) {
    spec_ = {.sample = {options.channels, options.height, options.width},
             .out_channels = options.out_channels,
             .num_class_embeds = options.num_class_embeds};
    for (const auto& [name, tensor] : parameters) {
      parameters_[name] = tensor.to(dtype);
      spec_.num_parameters += tensor.numel();
    }
  }

  const NetworkSpec& spec() const override { return spec_; }
  at::Device device() const override { return parameters_.begin()->second.device(); }
  at::ScalarType dtype() const override { return dtype_; }

  at::Tensor Forward(const NetworkInput& input) const override {
    at::Tensor h = at::cat({input.x.flatten(1), TimeFeatures(input.timesteps)}, 1).to(dtype_);
    for (int layer = 0; layer < kLayers; ++layer) {
      if (layer > 0) h = at::silu(h);
      h = at::linear(h, parameters_.at(Name(layer, "weight")), parameters_.at(Name(layer, "bias")));
      if (layer == 0 && input.conditions.class_labels.defined())
        h = h + parameters_.at("classes.weight").index_select(0, input.conditions.class_labels);
    }
    return h.to(at::kFloat)
        .view({input.x.size(0), spec_.out_channels, spec_.sample.height, spec_.sample.width});
  }

  std::shared_ptr<const Network> To(at::Device device, at::ScalarType dtype) const override {
    StateDict parameters;
    for (const auto& [name, tensor] : parameters_) parameters[name] = tensor.to(device);
    return std::make_shared<Mlp>(options_, parameters, dtype);
  }

 private:
  // The time in [0, 1], and sines and cosines of it.
  at::Tensor TimeFeatures(const at::Tensor& timesteps) const {
    const double span = options_.timestep_max - options_.timestep_min;
    const at::Tensor time = ((timesteps - options_.timestep_min) / span).unsqueeze(1);
    std::vector<at::Tensor> features = {time};
    for (int i = 0; i < kFrequencies; ++i) {
      const at::Tensor angle = time * (M_PI * std::pow(2.0, i));
      features.push_back(at::sin(angle));
      features.push_back(at::cos(angle));
    }
    return at::cat(features, 1);
  }

  MlpOptions options_;
  at::ScalarType dtype_;
  StateDict parameters_;
  NetworkSpec spec_;
};

}  // namespace

StateDict InitialMlpWeights(const MlpOptions& options, uint64_t seed) {
  NoiseSource noise(seed);
  StateDict weights;
  for (int layer = 0; layer < kLayers; ++layer) {
    const int64_t in =
        layer == 0 ? options.channels * Pixels(options) + kTimeFeatures : options.hidden;
    const bool last = layer == kLayers - 1;
    const int64_t out = last ? options.out_channels * Pixels(options) : options.hidden;
    const double scale = last ? 0 : std::sqrt(2.0 / static_cast<double>(in));
    weights[Name(layer, "weight")] = scale * noise.Draw({out, in});
    weights[Name(layer, "bias")] = at::zeros({out}, at::kFloat);
  }
  if (options.num_class_embeds > 0)
    weights["classes.weight"] = noise.Draw({options.num_class_embeds, options.hidden});
  return weights;
}

std::shared_ptr<const Network> MakeMlp(const MlpOptions& options, const StateDict& parameters,
                                       at::ScalarType dtype) {
  return std::make_shared<Mlp>(options, parameters, dtype);
}

}  // namespace denoise
