// Folders that survive a crash, and what errors of the disk are to callers.
#pragma once

#include <filesystem>

#include "absl/status/status.h"

namespace denoise {

// `status` of the file system as an answer: ResourceExhausted where the disk is full, else
// Unavailable. OK stays.
absl::Status DiskStatus(const absl::Status& status);

// Makes `path` if it is not there. Its parent is there. Errors carry no path.
absl::Status MakeFolder(const std::filesystem::path& path);

// Removes it with everything in it; OK where it is not there. Errors carry no path.
absl::Status RemoveTree(const std::filesystem::path& path);

}  // namespace denoise
