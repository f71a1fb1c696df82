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
// the .json and .safetensors files and lists of merges in `folder` and in the sub-folders of a
// pipeline's parts; whatever else is there, such as a log that is being written, does not count.
// Follows links.
std::string FingerprintOf(const std::filesystem::path& folder);

// The same of one file.
std::string FingerprintOfFile(const std::filesystem::path& file);

// Aborted: somebody replaced files while they were read. Reading them again helps.
absl::Status FilesHaveChanged();

// Opens a model, a ParsedModel or a ParsedPipeline, with all files of one moment. Errors are those
// of its Open and FilesHaveChanged.
template <typename Parsed>
absl::StatusOr<Parsed> ReadUnchanged(const std::filesystem::path& folder) {
  const std::string before = FingerprintOf(folder);
  absl::StatusOr<Parsed> parsed = Parsed::Open(folder);
  if (FingerprintOf(folder) != before) return FilesHaveChanged();
  return parsed;
}

}  // namespace denoise
