#include "core/files/folders.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "core/base/file_system_error.h"
#include "core/files/atomic_file.h"

namespace denoise {

absl::Status MakeFolder(const std::filesystem::path& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return FileSystemError(errno, "cannot create the folder");
  }
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return FileSystemError(ENOTDIR, "cannot create the folder");
  }
  return SyncFolder(path.parent_path());
}

absl::Status RemoveTree(const std::filesystem::path& path) {
  std::error_code error;
  const auto removed = std::filesystem::remove_all(path, error);
  if (error) return FileSystemError(error.value(), "cannot remove the folder");
  return removed == 0 ? absl::OkStatus() : SyncFolder(path.parent_path());
}

absl::StatusOr<bool> Exists(const std::filesystem::path& path) {
  std::error_code error;
  const bool exists = std::filesystem::exists(path, error);
  if (error) return FileSystemError(error.value(), "cannot be examined");
  return exists;
}

absl::StatusOr<std::vector<std::filesystem::path>> ListFolder(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    paths.push_back(entry->path());
  }
  if (error) return FileSystemError(error.value(), "the folder cannot be read");
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace denoise
