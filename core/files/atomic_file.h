// Writes files atomically and durably: a file appears complete or not at all.
#pragma once

#include <filesystem>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/file_descriptor.h"

namespace denoise {

// A file being written under a temporary name beside its final one, and removed unless committed.
// Not thread-safe. Errors are those of the file system, without the path in their messages;
// ResourceExhausted: the disk or a quota is full.
class AtomicFile {
 public:
  // `goal` may exist; its folder must.
  static absl::StatusOr<AtomicFile> Create(std::filesystem::path goal);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  absl::Status Append(std::string_view bytes);
  // Syncs the file and renames it to `goal`. Readers see either the old file or the new one, and a
  // crash leaves one of them.
  absl::Status Commit();

 private:
  AtomicFile(std::filesystem::path goal, std::filesystem::path path, FileDescriptor file);

  std::filesystem::path goal_;
  std::filesystem::path path_;  // empty once there is nothing to remove
  FileDescriptor file_;
};

// Writes a whole file.
absl::Status WriteFileAtomically(const std::filesystem::path& goal, std::string_view content);

// Makes the folder's entries durable.
absl::Status SyncFolder(const std::filesystem::path& folder);

}  // namespace denoise
