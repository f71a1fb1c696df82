#include "core/files/atomic_file.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/file_system_error.h"
#include "core/base/status_macros.h"

namespace denoise {

namespace fs = std::filesystem;

absl::Status SyncFolder(const fs::path& folder) {
  const char* path = folder.empty() ? "." : folder.c_str();  // the parent of a bare name
  const FileDescriptor file(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() < 0) return FileSystemError(errno, "cannot open the folder");
  // Some file systems sync folders by themselves and return EINVAL.
  if (fsync(file.get()) != 0 && errno != EINVAL) {
    return FileSystemError(errno, "cannot write the folder");
  }
  return absl::OkStatus();
}

absl::StatusOr<AtomicFile> AtomicFile::Create(fs::path goal) {
  static std::atomic<int> counter = 0;
  for (;;) {
    fs::path path = goal;
    path += absl::StrCat(".", getpid(), ".", counter++, ".tmp");
    FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (file.get() >= 0) return AtomicFile(std::move(goal), std::move(path), std::move(file));
    // A process with the same pid may have left this file: pids repeat in containers.
    if (errno != EEXIST) return FileSystemError(errno, "cannot create the file");
  }
}

AtomicFile::AtomicFile(fs::path goal, fs::path path, FileDescriptor file)
    : goal_(std::move(goal)), path_(std::move(path)), file_(std::move(file)) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : goal_(std::move(other.goal_)),
      path_(std::exchange(other.path_, fs::path())),
      file_(std::move(other.file_)) {}

AtomicFile::~AtomicFile() {
  if (!path_.empty()) unlink(path_.c_str());
}

absl::Status AtomicFile::Append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileSystemError(errno, "cannot write the file");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit() {
  // The content must be durable before the name, and the name needs its folder synced.
  if (fsync(file_.get()) != 0) return FileSystemError(errno, "cannot write the file");
  if (std::rename(path_.c_str(), goal_.c_str()) != 0) {
    return FileSystemError(errno, "cannot replace the file");
  }
  path_.clear();
  return SyncFolder(goal_.parent_path());
}

absl::Status WriteFileAtomically(const fs::path& goal, std::string_view content) {
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(goal));
  RETURN_IF_ERROR(file.Append(content));
  return file.Commit();
}

}  // namespace denoise
