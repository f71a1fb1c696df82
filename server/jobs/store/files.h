// Helpers for the folders of the state on disk.
#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace denoise {

// `status` of the file system as an answer to callers: ResourceExhausted where the disk is full,
// else Unavailable. OK stays OK.
absl::Status DiskStatus(const absl::Status& status);

// Whether there is a file or folder of that name. Errors are those of DiskStatus.
absl::StatusOr<bool> IsThere(const std::filesystem::path& path);

// The size of a file, or of all files below a folder. 0 where there is none.
int64_t TreeBytes(const std::filesystem::path& path);

// Whether a file of that size can be written into `folder` now. Allocates one to find out.
bool HasRoomFor(const std::filesystem::path& folder, int64_t bytes);

}  // namespace denoise
