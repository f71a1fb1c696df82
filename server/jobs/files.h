// Folders that survive a crash, and what errors of the disk are to callers.
#pragma once

#include <cstdint>
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

// Of a file, or of the files in a folder and in the folders in it. 0 where it is not there.
int64_t TreeBytes(const std::filesystem::path& path);

// Whether a file of that size can be written into `folder` now: it is tried.
bool HasRoomFor(const std::filesystem::path& folder, int64_t bytes);

}  // namespace denoise
