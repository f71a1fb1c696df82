#include "tests/support/vlb_reference.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/floor.h>
#include <ATen/ops/tanh.h>

#include <cmath>
#include <fstream>
#include <ostream>
#include <stdexcept>

namespace denoise {
namespace {

// 768 values laid out in the order of (c, h, w, b), as a batch in NCHW order.
at::Tensor Batch(const at::Tensor& values) {
  return values.view({3, 8, 8, 4}).permute({3, 0, 1, 2}).contiguous();
}

}  // namespace

nlohmann::json LoadVlbReference() {
  std::ifstream file("tests/data/reference/vlb.json");
  return nlohmann::json::parse(file);
}

std::string VlbCase::name() const {
  const std::string what = is_loop() ? "loop" : mean();
  return values.at("schedule").get<std::string>() + "_" + values.at("var").get<std::string>() +
         "_" + what + "_" + std::to_string(index);
}

bool VlbCase::learned() const {
  return variance_type() == VarianceType::kLearned ||
         variance_type() == VarianceType::kLearnedRange;
}

VarianceType VlbCase::variance_type() const {
  const std::string name = values.at("var");
  if (name == "FIXED_SMALL") return VarianceType::kFixedSmall;
  if (name == "FIXED_LARGE") return VarianceType::kFixedLarge;
  return name == "LEARNED" ? VarianceType::kLearned : VarianceType::kLearnedRange;
}

PredictionType VlbCase::prediction_type() const {
  const bool epsilon = is_loop() || mean() == "EPSILON";
  return epsilon ? PredictionType::kEpsilon : PredictionType::kSample;
}

VpOptions VlbCase::schedule() const {
  const bool cosine = values.at("schedule") == "cosine";
  return {.beta_schedule = cosine ? BetaSchedule::kSquaredCosCapV2 : BetaSchedule::kLinear};
}

std::vector<VlbCase> LoadVlbCases() {
  std::vector<VlbCase> cases;
  const nlohmann::json file = LoadVlbReference();
  for (const nlohmann::json& values : file.at("cases"))
    cases.push_back({static_cast<int>(cases.size()), values});
  return cases;
}

void PrintTo(const VlbCase& reference, std::ostream* stream) { *stream << reference.name(); }

at::Tensor VlbPictures() {
  const at::Tensor sample_deter = Batch(at::arange(768, at::kFloat) / 768);
  return at::floor(255 * sample_deter) / 127.5 - 1;
}

at::Tensor VlbNoise() {
  const at::Tensor noise_deter = Batch(at::arange(767, -1, -1, at::kFloat) / 768);
  return (noise_deter - 0.5) * std::sqrt(12.0);
}

VlbNetwork::VlbNetwork(VarianceType variance_type)
    : variance_type_(variance_type), spec_{.sample = {3, 8, 8}, .out_channels = 3} {
  const bool learned =
      variance_type == VarianceType::kLearned || variance_type == VarianceType::kLearnedRange;
  if (learned) spec_.out_channels = 6;
}

at::Tensor VlbNetwork::Forward(const NetworkInput& input) const {
  const at::Tensor t = input.timesteps.view({-1, 1, 1, 1});
  const at::Tensor m = input.x * t / (t + 1), v = at::tanh(input.x);
  if (variance_type_ == VarianceType::kLearned) return at::cat({m, at::exp(v)}, 1);
  return spec_.out_channels == 6 ? at::cat({m, v}, 1) : m;
}

std::shared_ptr<const Network> VlbNetwork::To(at::Device, at::ScalarType) const {
  throw std::logic_error("stays where it is");
}

}  // namespace denoise
