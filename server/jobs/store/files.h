// The folders of the state on disk, and what errors of the disk are to callers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace denoise {

// `status` of the file system as an answer: ResourceExhausted where the disk is full, else
// Unavailable. OK stays.
absl::Status DiskStatus(const absl::Status& status);

// Removes what lies in `folder`, one folder for each id, and is of none that `is_known`: what was
// deleted, or never came to be, when the server ended.
absl::Status RemoveUnknownFolders(const std::filesystem::path& folder,
                                  const std::function<absl::StatusOr<bool>(int64_t id)>& is_known);

// Of a file, or of the files in a folder and in the folders in it. 0 where it is not there.
int64_t TreeBytes(const std::filesystem::path& path);

// Whether a file of that size can be written into `folder` now: it is tried.
bool HasRoomFor(const std::filesystem::path& folder, int64_t bytes);

}  // namespace denoise
