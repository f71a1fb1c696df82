// Reads and writes files of named tensors. safetensors_header.h describes the format.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/files/file_content.h"
#include "core/io/safetensors_header.h"

namespace denoise {

// An open file. Immutable and thread-safe; copies share its bytes.
class SafetensorsFile {
 public:
  // Errors as those of FileContent::Read and ParseSafetensorsHeader.
  static absl::StatusOr<SafetensorsFile> Open(
      const std::filesystem::path& path, size_t bytes_max = std::numeric_limits<size_t>::max());

  const SafetensorsHeader& header() const { return header_; }
  std::string_view bytes() const { return file_->bytes(); }

  // A tensor on the CPU, of dtype F64, F32, F16 or BF16. It is a view of the file's bytes, which it
  // keeps alive and which must not be written to; a tensor that is not aligned is copied. NotFound:
  // no such tensor. InvalidArgument: any other dtype.
  absl::StatusOr<at::Tensor> Get(const std::string& name) const;

 private:
  SafetensorsFile(std::shared_ptr<const FileContent> file, SafetensorsHeader header)
      : file_(std::move(file)), header_(std::move(header)) {}

  std::shared_ptr<const FileContent> file_;
  SafetensorsHeader header_;
};

// Atomically replaces `path` by a file of `tensors` (F64, F32, F16, BF16, on any device): readers,
// and a crash, see the old file or the new one. The same tensors give the same bytes. Data is
// sorted by dtype size and name, which aligns every tensor. InvalidArgument names a tensor that
// cannot be written; other errors come from the file system, without the path.
absl::Status WriteSafetensors(const std::filesystem::path& path,
                              const std::map<std::string, at::Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace denoise
