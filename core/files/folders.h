// Creates and removes folders durably.
#pragma once

#include <sys/types.h>

#include <filesystem>

#include "absl/status/status.h"

namespace denoise {

// Errors are those of the file system, without the path in their messages; ResourceExhausted: the
// disk or a quota is full.

// Creates `path` with `mode`, less the process's umask, unless it exists. Its parent must exist.
absl::Status MakeFolder(const std::filesystem::path& path, mode_t mode = 0777);

// Removes a file, or a folder with everything in it; OK if there is none. A crash may leave parts
// of it. RemoveFolder (atomic_folder.h) avoids that.
absl::Status RemoveTree(const std::filesystem::path& path);

}  // namespace denoise
