// The bytes of an upload on disk, as far as they have come.
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
  // Goes on at `offset`; what lies behind it, never acknowledged, is dropped. The folder of `path` is
  // made if need be. DataLoss where fewer bytes than that are there.
  static absl::StatusOr<UploadSpool> Open(const std::filesystem::path& path, int64_t offset);

  absl::Status Append(std::string_view bytes);
  // Once it returns OK, everything appended survives a crash.
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
