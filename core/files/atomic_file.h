// Files that appear whole or not at all, and are on the disk when they do.
#pragma once

#include <filesystem>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/file_descriptor.h"

namespace denoise {

// A file being written under a temporary name beside its goal, and removed unless it is committed.
// Not thread-safe. Errors come from the file system, their messages do not contain the path;
// ResourceExhausted where the disk, or a quota on it, is full.
class AtomicFile {
 public:
  // `goal` may exist; the folder it lies in must.
  static absl::StatusOr<AtomicFile> Create(std::filesystem::path goal);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  absl::Status Append(std::string_view bytes);
  // Syncs, and takes the place of `goal`: a reader sees the old file or the new one, a crash leaves
  // one of them.
  absl::Status Commit();

 private:
  AtomicFile(std::filesystem::path goal, std::filesystem::path path, FileDescriptor file);

  std::filesystem::path goal_;
  std::filesystem::path path_;  // empty once there is nothing to remove
  FileDescriptor file_;
};

// All of a file at once.
absl::Status WriteFileAtomically(const std::filesystem::path& goal, std::string_view content);

// `error` of the file system as a status: ResourceExhausted where there is no room.
absl::Status FileSystemError(int error, std::string_view message);

// What a folder holds is durable only once the folder itself is synced.
absl::Status SyncFolder(const std::filesystem::path& folder);

}  // namespace denoise
