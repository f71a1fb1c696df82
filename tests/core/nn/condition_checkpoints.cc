#include "tests/core/nn/condition_checkpoints.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "absl/strings/str_replace.h"

namespace denoise {
namespace {

const std::filesystem::path kPipelines = "tests/data/pipelines";

UNet2DConditionConfig Parse(const std::string& config_json) {
  auto config = ParseUNet2DConditionConfig(config_json);
  if (!config.ok()) throw std::runtime_error(config.status().ToString());
  return *std::move(config);
}

}  // namespace

std::vector<std::string> ConditionPipelines() {
  return {"sd15-like",        "sd21-v-like",
          "turbo-like",       "lcm-like",
          "inpaint-9ch",      "tiny-vae",
          "sdxl-like",        "sdxl-refiner-like",
          "sdxl-inpaint-9ch", "sdxl-latent-statistics"};
}

UNetFolder ReadPipelineUNet(const std::string& pipeline) {
  return ReadUNetFolder(kPipelines / pipeline);
}

nlohmann::json ReadPipelineExpected(const std::string& pipeline) {
  // Python writes infinities, which JSON does not have. Nothing that is compared here is one.
  std::string text = ReadFile(kPipelines / pipeline / "expected.json");
  return nlohmann::json::parse(absl::StrReplaceAll(text, {{"-Infinity", "null"}}));
}

UNet2DConditionOptions OptionsFor(const std::string& pipeline) {
  return {.num_time_ids = pipeline == "sdxl-refiner-like" ? 5 : 6};
}

std::shared_ptr<const Network> LoadConditionNetwork(const UNetFolder& folder,
                                                    const UNet2DConditionOptions& options) {
  auto network = CreateUNet2DCondition(Parse(folder.config_json), folder.weights, options);
  if (!network.ok()) throw std::runtime_error(network.status().ToString());
  return *std::move(network);
}

std::shared_ptr<const Network> RandomConditionNetwork(const std::string& config_json,
                                                      const UNet2DConditionOptions& options) {
  const StateDict weights = InitializeUNet2DCondition(Parse(config_json), 1);
  return LoadConditionNetwork({config_json, weights}, options);
}

NetworkInput RandomConditionInput(const NetworkSpec& spec, const ConditionInputShape& shape,
                                  uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const std::vector<int64_t>& lengths = shape.text_lengths;
  const int64_t rows = static_cast<int64_t>(lengths.size());
  const int64_t tokens = *std::max_element(lengths.begin(), lengths.end());
  const auto randn = [&](std::vector<int64_t> sizes) { return at::randn(sizes, generator); };
  NetworkInput input{.x = randn({rows, spec.sample.channels, shape.height, shape.width}),
                     .timesteps = at::rand({rows}, generator) * 999 + 0.5,
                     .conditions = {}};
  Conditions& conditions = input.conditions;
  conditions.text_states = randn({rows, tokens, spec.text_width});
  const bool equal = std::equal(lengths.begin() + 1, lengths.end(), lengths.begin());
  if (!equal) conditions.text_lengths = lengths;
  if (spec.num_class_embeds > 0) {
    conditions.class_labels = at::randint(spec.num_class_embeds, {rows}, generator, at::kLong);
  }
  if (spec.pooled_text_width > 0) {
    conditions.pooled_text = randn({rows, spec.pooled_text_width});
    conditions.time_ids = at::floor(at::rand({rows, spec.num_time_ids}, generator) * 1024);
  }
  if (spec.guidance_embedding) conditions.guidance_scales = at::rand({rows}, generator) * 8 + 1;
  if (spec.condition_channels > 0) {
    conditions.channels = randn({rows, spec.condition_channels, shape.height, shape.width});
  }
  return input;
}

}  // namespace denoise
