// Writes latent models as folders in the diffusers layout.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/files/atomic_folder.h"
#include "core/pipeline/parsed_pipeline.h"

namespace denoise {

// Writes a folder that ParsedPipeline::Open and the Python library load: the configurations and
// tokenizer files of `model` as they were, and its weights in the dtypes that they have. Parts that
// are ignored are declared absent. The folder appears whole or not at all: it is written beside
// `folder`, synced and renamed.
//
// AlreadyExists: `folder` does. FailedPrecondition: the model has no weights. ResourceExhausted:
// the disk is full. Errors of the file system carry no path.
absl::Status WritePipeline(const std::filesystem::path& folder, const ParsedPipeline& model);

// Writes `texts`, by their names in a model's folder, with the components in `ignored` declared
// absent.
absl::Status WritePipelineTexts(const AtomicFolder& folder,
                                std::map<std::string, std::string> texts,
                                const std::vector<std::string>& ignored);

// The file of the part's weights, as the library names it:
// "unet/diffusion_pytorch_model.safetensors".
std::string WeightsFileOf(const PartDescription& part);

// What the files of weights say of themselves. Some of the library's loaders insist on being told
// who wrote the file.
const std::map<std::string, std::string>& WeightsMetadata();

}  // namespace denoise
