#include "core/files/atomic_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/file_system_error.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = ".writing-";

absl::Status AlreadyExists() { return absl::AlreadyExistsError("the folder already exists"); }

bool IsThere(const fs::path& path) {
  std::error_code error;
  return fs::symlink_status(path, error).type() != fs::file_type::not_found;
}

// rename() would silently replace an empty folder.
absl::Status RenameToNewName(const fs::path& from, const fs::path& to) {
  int result = renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE);
  if (result != 0 && (errno == EINVAL || errno == ENOSYS)) {  // not every file system knows it
    if (IsThere(to)) return AlreadyExists();
    result = std::rename(from.c_str(), to.c_str());
  }
  if (result == 0) return absl::OkStatus();
  if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR) return AlreadyExists();
  return FileSystemError(errno, "cannot rename the folder");
}

// Syncs the folder and those within it, deepest first.
absl::Status SyncFolders(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (fs::is_directory(entry->symlink_status())) RETURN_IF_ERROR(SyncFolders(entry->path()));
  }
  if (error) return FileSystemError(error.value(), "cannot read the folder");
  return SyncFolder(folder);
}

absl::StatusOr<fs::path> MakeTemporaryFolder(const fs::path& parent) {
  static std::atomic<int> counter = 0;
  for (;;) {
    fs::path path = parent / absl::StrCat(kPrefix, getpid(), "-", counter++);
    if (mkdir(path.c_str(), 0777) == 0) return path;
    // A process with the same pid may have left this folder: pids repeat in containers.
    if (errno == ENOENT) {
      return absl::NotFoundError(
          "cannot create the folder, because its parent does not exist; create that first");
    }
    if (errno != EEXIST) return FileSystemError(errno, "cannot create the folder");
  }
}

}  // namespace

absl::StatusOr<AtomicFolder> AtomicFolder::Create(fs::path goal) {
  if (!goal.has_filename()) goal = goal.parent_path();  // "models/new/"
  if (IsThere(goal)) return AlreadyExists();
  ASSIGN_OR_RETURN(fs::path path, MakeTemporaryFolder(goal.parent_path()));
  return AtomicFolder(std::move(goal), std::move(path));
}

AtomicFolder::AtomicFolder(fs::path goal, fs::path path)
    : goal_(std::move(goal)), path_(std::move(path)) {}

AtomicFolder::AtomicFolder(AtomicFolder&& other) noexcept
    : goal_(std::move(other.goal_)), path_(std::exchange(other.path_, fs::path())) {}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;  // RemoveUnfinishedFolders will remove the rest
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

absl::Status AtomicFolder::MakeFolder(const fs::path& name) const {
  if (mkdir((path_ / name).c_str(), 0777) == 0) return absl::OkStatus();
  return FileSystemError(errno, "cannot create the folder");
}

absl::Status AtomicFolder::Commit() {
  RETURN_IF_ERROR(SyncFolders(path_));
  RETURN_IF_ERROR(RenameToNewName(path_, goal_));
  path_.clear();
  return SyncFolder(goal_.parent_path());
}

absl::Status RemoveFolder(const fs::path& path) {
  ASSIGN_OR_RETURN(const fs::path bin, MakeTemporaryFolder(path.parent_path()));
  std::error_code error, ignored;
  fs::rename(path, bin / "removed", error);
  fs::remove_all(bin, error ? ignored : error);
  if (error) return FileSystemError(error.value(), "cannot remove the folder");
  return absl::OkStatus();
}

absl::Status RemoveUnfinishedFolders(const fs::path& parent) {
  std::error_code error;
  std::vector<fs::path> unfinished;
  for (fs::directory_iterator entry(parent, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().filename().string().starts_with(kPrefix)) {
      unfinished.push_back(entry->path());
    }
  }
  for (const fs::path& path : unfinished) {
    if (!error) fs::remove_all(path, error);
  }
  if (error) return FileSystemError(error.value(), "cannot remove unfinished folders");
  return absl::OkStatus();
}

}  // namespace denoise
