// Folders made and removed so that a crash does not undo it.
#pragma once

#include <sys/types.h>

#include <filesystem>

#include "absl/status/status.h"

namespace denoise {

// Errors come from the file system, their messages do not contain the path; ResourceExhausted where
// the disk, or a quota on it, is full.

// Makes `path` with `mode`, less the process's umask, if it is not there. Its parent is there.
absl::Status MakeFolder(const std::filesystem::path& path, mode_t mode = 0777);

// Removes a file, or a folder with everything in it; OK where there is none. A crash may leave some of
// it: see RemoveFolder (atomic_folder.h) where that matters.
absl::Status RemoveTree(const std::filesystem::path& path);

}  // namespace denoise
