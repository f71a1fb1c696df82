// Folders and files that survive a crash. Errors carry no path.
#pragma once

#include <filesystem>
#include <string_view>

#include "absl/status/status.h"

namespace denoise {

// What `error` (an errno) means to callers: ResourceExhausted where there is no room, else
// Unavailable.
absl::Status FileError(int error, std::string_view what);

// Makes `path` if it is not there. Its parent is there.
absl::Status MakeFolder(const std::filesystem::path& path);

// With everything in it; OK where it is not there.
absl::Status RemoveTree(const std::filesystem::path& path);

// That files were made in it, renamed or removed.
absl::Status SyncFolder(const std::filesystem::path& path);

}  // namespace denoise
