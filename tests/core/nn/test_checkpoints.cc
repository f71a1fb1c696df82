#include "tests/core/nn/test_checkpoints.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "core/base/field_violations.h"
#include "core/io/safetensors.h"

namespace denoise {
namespace {

const std::filesystem::path kReference = "tests/data/reference/unet";

// All tensors of a folder's files.
StateDict ReadSafetensorsOf(const std::filesystem::path& folder) {
  StateDict tensors;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") tensors.merge(ReadSafetensors(entry.path()));
  }
  return tensors;
}

at::Generator SeededGenerator(uint64_t seed) { return at::detail::createCPUGenerator(seed); }

// "is missing, expected [3, 4]" -> {3, 4}
std::vector<int64_t> ExpectedShape(const std::string& description) {
  return nlohmann::json::parse(description.substr(description.find('[')))
      .get<std::vector<int64_t>>();
}

}  // namespace

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

StateDict ReadSafetensors(const std::filesystem::path& path) {
  const auto file = SafetensorsFile::Open(path);
  if (!file.ok()) throw std::runtime_error(file.status().ToString());
  StateDict tensors;
  for (const auto& [name, entry] : file->header().tensors) tensors[name] = file->Get(name).value();
  return tensors;
}

nlohmann::json ReadJson(const std::filesystem::path& path) {
  return nlohmann::json::parse(ReadFile(path));
}

std::vector<std::string> ReferenceCheckpoints() {
  return {"class-conditional-v", "gray-not-square", "learned-range", "resnet-resample",
          "root-layout-old-names"};
}

UNetFolder ReadUNetFolder(const std::filesystem::path& checkpoint) {
  const auto folder =
      std::filesystem::exists(checkpoint / "unet") ? checkpoint / "unet" : checkpoint;
  return {ReadFile(folder / "config.json"), ReadSafetensorsOf(folder)};
}

UNetFolder ReadReferenceUNet(const std::string& name) { return ReadUNetFolder(kReference / name); }

nlohmann::json ReadExpected(const std::string& name) {
  return ReadJson(kReference / name / "expected.json");
}

std::shared_ptr<const Network> LoadNetwork(const UNetFolder& folder, const UNet2DOptions& options) {
  const auto config = ParseUNet2DConfig(folder.config_json);
  if (!config.ok()) throw std::runtime_error(config.status().ToString());
  auto network = CreateUNet2D(*config, folder.weights, options);
  if (!network.ok()) throw std::runtime_error(network.status().ToString());
  return *std::move(network);
}

StateDict RandomWeights(const std::string& config_json) {
  const auto config = ParseUNet2DConfig(config_json);
  if (!config.ok()) throw std::runtime_error(config.status().ToString());
  at::Generator generator = SeededGenerator(1);
  StateDict weights;
  // The loader says which tensors it misses, a handful at a time.
  for (auto network = CreateUNet2D(*config, weights, {}); !network.ok();
       network = CreateUNet2D(*config, weights, {})) {
    for (const auto& [name, description] : GetFieldViolations(network.status())) {
      if (name == "...") continue;
      const std::vector<int64_t> shape = ExpectedShape(description);
      at::Tensor tensor = at::randn(shape, generator);
      const double fan_in = static_cast<double>(tensor.numel()) / static_cast<double>(shape[0]);
      weights[name] = shape.size() > 1 ? tensor / std::sqrt(fan_in) : tensor * 0.1 + 0.5;
    }
  }
  return weights;
}

std::shared_ptr<const Network> RandomNetwork(const std::string& config_json,
                                             const UNet2DOptions& options) {
  return LoadNetwork({config_json, RandomWeights(config_json)}, options);
}

NetworkInput RandomInput(const Network& network, int64_t rows, uint64_t seed) {
  const NetworkSpec& spec = network.spec();
  at::Generator generator = SeededGenerator(seed);
  NetworkInput input;
  input.x =
      at::randn({rows, spec.sample.channels, spec.sample.height, spec.sample.width}, generator);
  input.timesteps = at::rand({rows}, generator) * 999 + 0.5;
  if (spec.num_class_embeds > 0) {
    input.conditions.class_labels =
        at::randint(spec.num_class_embeds, {rows}, generator, at::kLong);
  }
  return input;
}

NetworkInput Rows(const NetworkInput& input, int64_t first, int64_t count) {
  NetworkInput rows;
  rows.x = input.x.narrow(0, first, count).clone();
  rows.timesteps = input.timesteps.narrow(0, first, count).clone();
  rows.conditions = input.conditions.Narrow(first, count);
  for (at::Tensor Conditions::*field :
       {&Conditions::class_labels, &Conditions::text_states, &Conditions::pooled_text,
        &Conditions::time_ids, &Conditions::guidance_scales, &Conditions::channels}) {
    at::Tensor& tensor = rows.conditions.*field;
    if (tensor.defined()) tensor = tensor.clone();
  }
  return rows;
}

}  // namespace denoise
