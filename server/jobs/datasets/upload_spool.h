// The bytes of an upload on disk, as far as they have been received.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/file_descriptor.h"

namespace denoise {

// Not thread-safe. Errors are those of DiskStatus.
class UploadSpool {
 public:
  // Continues at `offset`; later bytes were never acknowledged and are dropped. Creates the folder
  // of `path` if needed. DataLoss: the file has fewer bytes.
  static absl::StatusOr<UploadSpool> Open(const std::filesystem::path& path, int64_t offset);

  absl::Status Append(std::string_view bytes);
  // After OK, everything appended survives a crash.
  absl::Status Sync();

  int64_t size() const { return size_; }
  int64_t synced() const { return synced_; }

 private:
  UploadSpool(FileDescriptor file, int64_t size)
      : file_(std::move(file)), size_(size), synced_(size) {}

  FileDescriptor file_;
  int64_t size_;
  int64_t synced_;
};

}  // namespace denoise
