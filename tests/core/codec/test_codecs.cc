#include "tests/core/codec/test_codecs.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "core/io/safetensors.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

const std::filesystem::path kPipelines = "tests/data/pipelines";

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

}  // namespace

std::vector<std::string> ReferencePipelines() {
  return {"inpaint-9ch", "lcm-like",          "ldm-like",
          "sd15-like",   "sd21-v-like",       "sdxl-inpaint-9ch",
          "sdxl-like",   "sdxl-refiner-like", "sdxl-latent-statistics",
          "tiny-vae",    "turbo-like"};
}

CodecFolder ReadReferenceCodec(const std::string& pipeline) {
  std::filesystem::path folder = kPipelines / pipeline / "vae";
  if (!std::filesystem::exists(folder)) folder = kPipelines / pipeline / "vqvae";
  const auto full = folder / "diffusion_pytorch_model.safetensors";
  const auto half = folder / "diffusion_pytorch_model.fp16.safetensors";
  return {ReadFile(folder / "config.json"),
          ReadSafetensors(std::filesystem::exists(full) ? full : half)};
}

nlohmann::json ReadExpectedCodec(const std::string& pipeline) {
  // Some samplers' settings in these files are -Infinity.
  const auto expected = ParseStrictJson(ReadFile(kPipelines / pipeline / "expected.json"),
                                        {.non_finite_numbers = true});
  if (!expected.ok()) throw std::runtime_error(expected.status().ToString());
  return (*expected)["vae"];
}

AutoencoderConfig ParseConfig(const std::string& json) {
  auto config = ParseAutoencoderConfig(json);
  if (!config.ok()) throw std::runtime_error(config.status().ToString());
  return *std::move(config);
}

std::shared_ptr<const Codec> LoadCodec(const CodecFolder& folder, const CodecOptions& options) {
  auto codec = CreateCodec(ParseConfig(folder.config_json), folder.weights, options);
  if (!codec.ok()) throw std::runtime_error(codec.status().ToString());
  return *std::move(codec);
}

std::shared_ptr<const Codec> RandomCodec(const std::string& config_json,
                                         const CodecOptions& options) {
  return LoadCodec({config_json, InitializeCodec(ParseConfig(config_json), 1)}, options);
}

at::Tensor Normal(std::vector<int64_t> shape, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator, at::kFloat);
}

at::Tensor Uniform(std::vector<int64_t> shape, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::rand(shape, generator, at::kFloat) * 2 - 1;
}

}  // namespace denoise
