// The outputs of the Python library's UNet2DConditionModel on ten small checkpoints.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "tests/core/nn/condition_checkpoints.h"
#include "tests/support/fingerprint.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr double kTolerance = 1e-4;

// The texts of a pipeline's prompts as its text encoders make them, which tests/data/reference
// keeps: the states, and the pooled vector if there is one, of each prompt that a UNet is given.
class Texts {
 public:
  Texts(const std::string& pipeline, const Json& expected)
      : tensors_(ReadSafetensors("tests/data/reference/unet2d_condition_text.safetensors")),
        pipeline_(pipeline) {
    for (const Json& text : expected["text"]) {
      if (tensors_.contains(Name("states", prompts_.size()))) prompts_.push_back(text);
    }
  }

  // The tensors are those that the reference was made with.
  void ExpectReference() const {
    for (size_t i = 0; i < prompts_.size(); ++i) {
      ExpectFingerprint(Get("states", i).unsqueeze(0), prompts_[i]["states"], kTolerance);
      if (!prompts_[i].contains("pooled")) continue;
      ExpectFingerprint(Get("pooled", i).unsqueeze(0), prompts_[i]["pooled"], kTolerance);
    }
  }

  SharedCondition Find(const std::string& prompt, const Json& entry) const {
    auto condition = std::make_shared<Condition>();
    for (size_t i = 0; i < prompts_.size(); ++i) {
      if (prompts_[i]["prompt"] != prompt) continue;
      condition->text_states = Get("states", i);
      if (entry.contains("time_ids")) condition->pooled_text = Get("pooled", i);
    }
    if (entry.contains("time_ids")) {
      condition->time_ids = at::tensor(entry["time_ids"].get<std::vector<float>>());
    }
    if (entry.contains("guidance_scale")) {
      condition->guidance_scale = at::full({1}, entry["guidance_scale"].get<double>(), at::kFloat);
    }
    return condition;
  }

 private:
  std::string Name(const char* kind, size_t i) const {
    return pipeline_ + "." + kind + "." + std::to_string(i);
  }
  at::Tensor Get(const char* kind, size_t i) const { return tensors_.at(Name(kind, i)); }

  const StateDict tensors_;
  const std::string pipeline_;
  std::vector<Json> prompts_;
};

NetworkInput ReferenceInput(const NetworkSpec& spec, const Texts& texts, const Json& entry) {
  const auto seed = entry["noise_seed"].get<uint64_t>();
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const at::Tensor noise = at::randn(entry["shape"].get<std::vector<int64_t>>(), generator);
  const std::vector<float> timesteps = entry["timesteps"];
  std::vector<SharedCondition> rows;
  for (const Json& prompt : entry["prompts"]) rows.push_back(texts.Find(prompt, entry));
  NetworkInput input{.x = noise.narrow(1, 0, spec.sample.channels),
                     .timesteps = at::tensor(timesteps).expand({noise.size(0)}).contiguous(),
                     .conditions = StackConditions(rows)};
  if (spec.condition_channels > 0) {
    input.conditions.channels = noise.narrow(1, spec.sample.channels, spec.condition_channels);
  }
  return input;
}

class UNet2DConditionReference : public testing::TestWithParam<std::string> {};

TEST_P(UNet2DConditionReference, ForwardAgreesWithTheLibrary) {
  const c10::InferenceMode inference;
  const UNetFolder folder = ReadPipelineUNet(GetParam());
  const Json expected = ReadPipelineExpected(GetParam());
  const Texts texts(GetParam(), expected);
  texts.ExpectReference();
  ASSERT_FALSE(expected["unet"].empty());
  for (const bool batch_invariant : {true, false}) {
    UNet2DConditionOptions options = OptionsFor(GetParam());
    options.batch_invariant = batch_invariant;
    const auto network = LoadConditionNetwork(folder, options);
    for (const Json& entry : expected["unet"]) {
      SCOPED_TRACE(testing::Message() << "batch_invariant " << batch_invariant << ", timesteps "
                                      << entry["timesteps"] << ", shape " << entry["shape"]);
      const at::Tensor output = network->Forward(ReferenceInput(network->spec(), texts, entry));
      ExpectFingerprint(output, entry["output"], kTolerance);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Pipelines, UNet2DConditionReference,
                         testing::ValuesIn(ConditionPipelines()), [](const auto& pipeline) {
                           std::string name = pipeline.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace denoise
