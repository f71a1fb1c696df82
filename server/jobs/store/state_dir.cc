#include "server/jobs/store/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/files/folders.h"
#include "server/jobs/store/files.h"

namespace denoise {
namespace {

absl::Status Unusable(const std::filesystem::path& path, int error) {
  const std::string message = absl::StrCat("the state folder ", Escaped(path.string()),
                                           " cannot be used: ", std::strerror(error));
  const bool is_full = error == ENOSPC || error == EDQUOT;
  return is_full ? absl::ResourceExhaustedError(message) : absl::FailedPreconditionError(message);
}

absl::Status InUse(const std::filesystem::path& path) {
  return absl::FailedPreconditionError(
      absl::StrCat("another server uses the state folder ", Escaped(path.string()),
                   ": stop it, or give this server its own folder"));
}

absl::StatusOr<FileDescriptor> LockFile(const std::filesystem::path& path) {
  FileDescriptor lock(open((path / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (lock.get() < 0) return Unusable(path, errno);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  return errno == EWOULDBLOCK ? InUse(path) : Unusable(path, errno);
}

// In case somebody removes the lock file. Not every file system locks folders: NFS does not.
absl::StatusOr<FileDescriptor> LockFolder(const std::filesystem::path& path) {
  FileDescriptor lock(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.get() < 0) return Unusable(path, errno);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return InUse(path);
  return lock;
}

}  // namespace

absl::StatusOr<StateDir> StateDir::Open(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) return Unusable(path, error.value());
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Unusable(path, errno);
  // Later changes of the working directory do not matter.
  const std::filesystem::path absolute = std::filesystem::canonical(path, error);
  if (error) return Unusable(path, error.value());
  ASSIGN_OR_RETURN(FileDescriptor lock_file, LockFile(absolute));
  ASSIGN_OR_RETURN(FileDescriptor lock_folder, LockFolder(absolute));
  StateDir state(absolute, std::move(lock_file), std::move(lock_folder));
  for (const std::filesystem::path& folder : {state.data_sets(), state.jobs()}) {
    const absl::Status made = MakeFolder(folder, 0700);
    if (!made.ok()) {
      const auto code = absl::IsResourceExhausted(made) ? absl::StatusCode::kResourceExhausted
                                                        : absl::StatusCode::kFailedPrecondition;
      return absl::Status(code, absl::StrCat("the state folder ", Escaped(path.string()),
                                             " cannot be used: ", made.message()));
    }
  }
  return state;
}

}  // namespace denoise
