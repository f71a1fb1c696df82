// The checkpoints that the network's tests run, and what is expected of them.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/nn/state_dict.h"
#include "core/nn/unet2d.h"

namespace denoise {

// The names of the folders in tests/data/reference/unet.
std::vector<std::string> ReferenceCheckpoints();

// A UNet's folder, the config and weights themselves.
struct UNetFolder {
  std::string config_json;
  StateDict weights;
};

// All tensors of a file. Fails the test and ends it where that cannot be read, like all below.
StateDict ReadSafetensors(const std::filesystem::path& path);
std::string ReadFile(const std::filesystem::path& path);
nlohmann::json ReadJson(const std::filesystem::path& path);

// `checkpoint` holds a unet folder, or the UNet itself, in one or several files.
UNetFolder ReadUNetFolder(const std::filesystem::path& checkpoint);
UNetFolder ReadReferenceUNet(const std::string& name);
nlohmann::json ReadExpected(const std::string& name);

std::shared_ptr<const Network> LoadNetwork(const UNetFolder& folder,
                                           const UNet2DOptions& options = {});

// Weights for any configuration: normal with a standard deviation that keeps activations near 1.
std::shared_ptr<const Network> RandomNetwork(const std::string& config_json,
                                             const UNet2DOptions& options = {});
StateDict RandomWeights(const std::string& config_json);

// `rows` rows of noise at assorted timesteps, with assorted labels where the network takes them.
NetworkInput RandomInput(const Network& network, int64_t rows, uint64_t seed);
NetworkInput Rows(const NetworkInput& input, int64_t first, int64_t count);

}  // namespace denoise
