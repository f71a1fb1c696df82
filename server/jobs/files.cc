#include "server/jobs/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/io/file_descriptor.h"

namespace denoise {

absl::Status FileError(int error, std::string_view what) {
  if (error == ENOSPC || error == EDQUOT) {
    return absl::ResourceExhaustedError("the server's disk is full");
  }
  return absl::UnavailableError(absl::StrCat("the server's disk: ", std::string(what), ": ",
                                             std::strerror(error)));
}

absl::Status MakeFolder(const std::filesystem::path& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return FileError(errno, "a folder cannot be made");
  }
  return SyncFolder(path.parent_path());
}

absl::Status RemoveTree(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return FileError(error.value(), "a folder cannot be removed");
  return SyncFolder(path.parent_path());
}

absl::Status SyncFolder(const std::filesystem::path& path) {
  const FileDescriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) return FileError(errno, "a folder cannot be opened");
  if (fsync(folder.get()) != 0) return FileError(errno, "a folder cannot be written");
  return absl::OkStatus();
}

}  // namespace denoise
