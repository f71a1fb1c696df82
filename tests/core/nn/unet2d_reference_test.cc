// The outputs of the Python library's UNet2DModel on five small checkpoints.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "tests/core/nn/test_checkpoints.h"
#include "tests/support/fingerprint.h"

namespace denoise {
namespace {

constexpr double kTolerance = 1e-4;

NetworkInput ReferenceInput(const NetworkSpec& spec, const nlohmann::json& entry) {
  const int64_t batch = entry["batch"];
  at::Generator generator = at::detail::createCPUGenerator(entry["noise_seed"].get<uint64_t>());
  NetworkInput input;
  input.x =
      at::randn({batch, spec.sample.channels, spec.sample.height, spec.sample.width}, generator);
  input.timesteps = at::full({batch}, entry["timestep"].get<double>(), at::kFloat);
  if (!entry["class_labels"].is_null()) {
    input.conditions.class_labels =
        at::tensor(entry["class_labels"].get<std::vector<int64_t>>(), at::kLong);
  }
  return input;
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
      ExpectFingerprint(network->Forward(ReferenceInput(network->spec(), entry)), entry["output"],
                        kTolerance);
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
