// Writes new latent models: with the shape of a published one and random weights, to try out and to
// measure what a model of that size costs.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/pipeline/parsed_pipeline.h"

namespace denoise {

struct NewPipelineOptions {
  at::ScalarType dtype = at::kHalf;  // of the weights in the files
  uint64_t seed = 0;                 // the same seed gives the same weights on any machine
  // Called before a part's first tensor and after each of them, with the number of parameters that
  // have been written. An error of it ends the writing, and nothing is left of the folder. May be
  // empty.
  std::function<absl::Status(const PartDescription& part, int64_t written)> progress;
};

// Writes a folder in the diffusers layout: `texts`, its configurations and tokenizer files by their
// names in it, and weights initialised as the library initialises them. Makes one tensor at a time,
// so that the memory it takes does not grow with the model. The folder appears whole or not at all.
//
// InvalidArgument: `texts` are not those of a latent model; names the file and the key.
// AlreadyExists: `folder` does. ResourceExhausted: the disk is full. Errors of the file system
// carry no path.
absl::Status WriteNewPipeline(const std::filesystem::path& folder,
                              const std::map<std::string, std::string>& texts,
                              const NewPipelineOptions& options);

// The texts of a published model (published_configs.h) with the tokenizer files in the folder
// `tokenizer`, or, if that is empty, with a tokenizer that reads bytes (byte_tokenizer.h).
// NotFound: there is no model called `name`, or no file of a tokenizer in the folder.
absl::StatusOr<std::map<std::string, std::string>> PublishedTexts(
    std::string_view name, const std::filesystem::path& tokenizer);

}  // namespace denoise
