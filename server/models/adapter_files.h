// Where the files of adapters are. Internal to server/models.
//
// An adapter is a file NAME.safetensors, a folder NAME with a file pytorch_lora_weights.safetensors
// (as the Python library saves it), or a repository of a Hugging Face cache with one: the folder
// models--ORG--NAME is the adapter ORG--NAME.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

// The ids of the adapters in `folder`, in order; none if the folder does not exist. Other entries
// are skipped. NotFound: it cannot be read; the message contains no path.
absl::StatusOr<std::vector<std::string>> ListAdapterIds(const std::filesystem::path& folder);

// The entries of `folder` that are not hidden and no adapters, each with the reason; at most 20.
std::vector<std::string> SkippedEntries(const std::filesystem::path& folder);

// The file of the adapter `id`, which is valid. NotFound.
absl::StatusOr<std::filesystem::path> FindAdapterFile(const std::filesystem::path& folder,
                                                      const std::string& id);

}  // namespace denoise
