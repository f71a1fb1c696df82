// An open file that is closed by its owner.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/file_system_error.h"

namespace denoise {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }

  int get() const { return fd_; }
  // For a new owner.
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

struct RegularFile {
  FileDescriptor descriptor;
  size_t size;  // at the time it was opened
};

// Opens a file for reading. NotFound: no such file. InvalidArgument: not a regular file. Messages
// do not contain the path.
inline absl::StatusOr<RegularFile> OpenRegularFile(const std::filesystem::path& path) {
  // Without O_NONBLOCK, opening a pipe would block until somebody writes to it.
  FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return FileSystemError(errno, "cannot be opened");
  struct stat info;
  if (fstat(file.get(), &info) != 0) return FileSystemError(errno, "cannot be examined");
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("not a regular file");
  return RegularFile{std::move(file), static_cast<size_t>(info.st_size)};
}

}  // namespace denoise
