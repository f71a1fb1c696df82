#include "server/jobs/files.h"

#include <sys/stat.h>

#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "core/io/atomic_file.h"

namespace denoise {

absl::Status DiskStatus(const absl::Status& status) {
  if (status.ok()) return status;
  if (absl::IsResourceExhausted(status)) {
    return absl::ResourceExhaustedError("the server's disk is full");
  }
  return absl::UnavailableError(absl::StrCat("the server's disk: ", status.message()));
}

absl::Status MakeFolder(const std::filesystem::path& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return DiskStatus(FileSystemError(errno, "a folder cannot be made"));
  }
  return DiskStatus(SyncFolder(path.parent_path()));
}

absl::Status RemoveTree(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return DiskStatus(FileSystemError(error.value(), "a folder cannot be removed"));
  return DiskStatus(SyncFolder(path.parent_path()));
}

}  // namespace denoise
