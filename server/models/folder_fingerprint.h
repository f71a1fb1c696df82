// Notices that a model's files have changed. Internal to server/models.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/io/parsed_model.h"

namespace denoise {

// Differs from an earlier one if one of the files that a model consists of has been added, removed,
// renamed, replaced or written to since, to the resolution of the file system's clock. These are
// the .json and .safetensors files in `folder` and in its sub-folders unet and scheduler; whatever
// else is there, such as a log that is being written, does not count. Follows links.
std::string FingerprintOf(const std::filesystem::path& folder);

// Opens a model with all files of one moment. Errors are those of ParsedModel::Open and
// FilesHaveChanged.
absl::StatusOr<ParsedModel> ReadUnchanged(const std::filesystem::path& folder);

// Aborted: somebody replaced files while they were read. Reading them again helps.
absl::Status FilesHaveChanged();

}  // namespace denoise
