// Writes latent models as folders in the diffusers layout.
#pragma once

#include <filesystem>

#include "absl/status/status.h"
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

}  // namespace denoise
