// Reads and writes files of named tensors. safetensors_header.h describes the format.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/files/atomic_file.h"
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

// Writes a file one tensor at a time, so that the others need not be in memory. The file appears
// complete or not at all. Not thread-safe. Errors come from the file system, without the path.
class SafetensorsWriter {
 public:
  struct TensorSpec {
    at::ScalarType dtype;  // kDouble, kFloat, kHalf or kBFloat16
    std::vector<int64_t> shape;
  };

  // Atomically replaces `path` once committed. InvalidArgument names a tensor that cannot be
  // written.
  static absl::StatusOr<SafetensorsWriter> Create(
      const std::filesystem::path& path, const std::map<std::string, TensorSpec>& tensors,
      const std::map<std::string, std::string>& metadata = {});

  // The order in which to append tensors: by the size of their dtype, which aligns all of them,
  // then by name.
  const std::vector<std::string>& order() const { return order_; }

  // Appends the next tensor. It has the dtype and shape that were announced, and is on any device.
  absl::Status Append(const at::Tensor& tensor);
  // Requires that all tensors were appended.
  absl::Status Commit();

 private:
  SafetensorsWriter(std::vector<std::string> order, std::vector<TensorSpec> specs, AtomicFile file)
      : order_(std::move(order)), specs_(std::move(specs)), file_(std::move(file)) {}

  std::vector<std::string> order_;
  std::vector<TensorSpec> specs_;  // in the same order
  size_t appended_ = 0;
  AtomicFile file_;
};

// Atomically replaces `path` by a file of `tensors` (F64, F32, F16, BF16, on any device): readers,
// and a crash, see the old file or the new one. The same tensors give the same bytes. Data is
// sorted by dtype size and name, which aligns every tensor. InvalidArgument names a tensor that
// cannot be written; other errors come from the file system, without the path.
absl::Status WriteSafetensors(const std::filesystem::path& path,
                              const std::map<std::string, at::Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace denoise
