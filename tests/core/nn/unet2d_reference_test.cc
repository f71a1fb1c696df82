// The outputs of the Python library's UNet2DModel on five small checkpoints.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/core/nn/test_checkpoints.h"

namespace denoise {
namespace {

constexpr double kTolerance = 1e-4;  // relative to the size of what is summed

NetworkInput ReferenceInput(const NetworkSpec& spec, const nlohmann::json& entry) {
  const int64_t batch = entry["batch"];
  at::Generator generator = at::detail::createCPUGenerator(entry["noise_seed"].get<uint64_t>());
  NetworkInput input;
  input.x = at::randn({batch, spec.in_channels, spec.height, spec.width}, generator);
  input.timesteps = at::full({batch}, entry["timestep"].get<double>(), at::kFloat);
  if (!entry["class_labels"].is_null()) {
    input.class_labels = at::tensor(entry["class_labels"].get<std::vector<int64_t>>(), at::kLong);
  }
  return input;
}

void ExpectFingerprint(const at::Tensor& output, const nlohmann::json& expected) {
  ASSERT_EQ(output.sizes().vec(), expected["shape"].get<std::vector<int64_t>>());
  const at::Tensor flat = output.to(at::kDouble).flatten();
  const at::Tensor wave = at::cos(at::arange(flat.numel(), at::kDouble) * 0.1);
  const double scale = expected["abs_sum"];
  EXPECT_NEAR(flat.abs().sum().item<double>(), scale, kTolerance * scale);
  EXPECT_NEAR(flat.sum().item<double>(), expected["sum"], kTolerance * scale);
  EXPECT_NEAR((flat * wave).sum().item<double>(), expected["cos_dot"], kTolerance * scale);
  const double magnitude = scale / static_cast<double>(flat.numel());
  for (size_t i = 0; i < expected["first16"].size(); ++i) {
    const double value = expected["first16"][i];
    EXPECT_NEAR(flat[static_cast<int64_t>(i)].item<double>(), value,
                kTolerance * std::max(std::abs(value), magnitude));
  }
  const int64_t tail = static_cast<int64_t>(expected["last8"].size());
  for (int64_t i = 0; i < tail; ++i) {
    const double value = expected["last8"][static_cast<size_t>(i)];
    EXPECT_NEAR(flat[flat.numel() - tail + i].item<double>(), value,
                kTolerance * std::max(std::abs(value), magnitude));
  }
}

class UNet2DReference : public testing::TestWithParam<std::string> {};

TEST_P(UNet2DReference, ForwardAgreesWithTheLibrary) {
  const c10::InferenceMode inference;
  const UNetFolder folder = ReadReferenceUNet(GetParam());
  for (const bool batch_invariant : {true, false}) {
    const auto network = LoadNetwork(folder, {.batch_invariant = batch_invariant});
    const nlohmann::json expected = ReadExpected(GetParam());
    for (const nlohmann::json& entry : expected["forward"]) {
      SCOPED_TRACE(testing::Message()
                   << "batch_invariant " << batch_invariant << ", timestep " << entry["timestep"]);
      ExpectFingerprint(network->Forward(ReferenceInput(network->spec(), entry)), entry["output"]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, UNet2DReference, testing::ValuesIn(ReferenceCheckpoints()),
                         [](const auto& checkpoint) {
                           std::string name = checkpoint.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace denoise
