// The autoencoders that the codec's tests run, and what is expected of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/codec/create_codec.h"
#include "core/nn/state_dict.h"

namespace denoise {

// The names of the folders in tests/data/pipelines.
std::vector<std::string> ReferencePipelines();

// An autoencoder's folder.
struct CodecFolder {
  std::string config_json;
  StateDict weights;
};
CodecFolder ReadReferenceCodec(const std::string& pipeline);

// The "vae" entry of a pipeline's expected.json.
nlohmann::json ReadExpectedCodec(const std::string& pipeline);

// Fails the test and ends it where the folder does not load.
AutoencoderConfig ParseConfig(const std::string& json);
std::shared_ptr<const Codec> LoadCodec(const CodecFolder& folder, const CodecOptions& options = {});

// Of new weights.
std::shared_ptr<const Codec> RandomCodec(const std::string& config_json,
                                         const CodecOptions& options = {});

// Standard normal, or uniform in [-1, 1), from a CPU generator with this seed.
at::Tensor Normal(std::vector<int64_t> shape, uint64_t seed);
at::Tensor Uniform(std::vector<int64_t> shape, uint64_t seed);

}  // namespace denoise
