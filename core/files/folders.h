// Creates and removes folders durably, and says what is there.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace denoise {

// Errors are those of the file system, without the path in their messages; ResourceExhausted: the
// disk or a quota is full.

// Creates `path` with `mode`, less the process's umask, unless it exists. Its parent must exist.
absl::Status MakeFolder(const std::filesystem::path& path, mode_t mode = 0777);

// Removes a file, or a folder with everything in it; OK if there is none. A crash may leave parts
// of it. RemoveFolder (atomic_folder.h) avoids that.
absl::Status RemoveTree(const std::filesystem::path& path);

// Whether there is a file or folder of that name. A link that leads nowhere is not there. Where the
// file system cannot say, that is an error: a caller that took it for absence would lose data.
absl::StatusOr<bool> Exists(const std::filesystem::path& path);

// The paths of what is in a folder, in order. NotFound: there is no such folder.
absl::StatusOr<std::vector<std::filesystem::path>> ListFolder(const std::filesystem::path& folder);

}  // namespace denoise
