// UNets that read a text, for tests: the references and random ones.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/nn/unet2d_condition.h"
#include "tests/core/nn/test_checkpoints.h"

namespace denoise {

// The names of the folders in tests/data/pipelines whose UNet is a UNet2DConditionModel.
std::vector<std::string> ConditionPipelines();

UNetFolder ReadPipelineUNet(const std::string& pipeline);
// What the Python library computes, and with what.
nlohmann::json ReadPipelineExpected(const std::string& pipeline);
// The options that suit a folder of ConditionPipelines().
UNet2DConditionOptions OptionsFor(const std::string& pipeline);

// Fails the test and ends it where the folder does not load.
std::shared_ptr<const Network> LoadConditionNetwork(const UNetFolder& folder,
                                                    const UNet2DConditionOptions& options = {});
// A network of random weights for any configuration.
std::shared_ptr<const Network> RandomConditionNetwork(const std::string& config_json,
                                                      const UNet2DConditionOptions& options = {});

// Noise, assorted timesteps and everything else that the network takes, of random values.
struct ConditionInputShape {
  int64_t height;
  int64_t width;
  std::vector<int64_t> text_lengths;  // one per row
};
NetworkInput RandomConditionInput(const NetworkSpec& spec, const ConditionInputShape& shape,
                                  uint64_t seed);

}  // namespace denoise
