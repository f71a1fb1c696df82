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
#include "core/base/sha256.h"
#include "core/files/atomic_file.h"
#include "core/files/open_file.h"
#include "core/io/safetensors_header.h"
#include "core/nn/stored_tensor.h"

namespace denoise {

// An open file, of which only the header is in memory. Immutable and thread-safe; copies share it.
class SafetensorsFile {
 public:
  // Errors as those of OpenFile::Open and ParseSafetensorsHeader.
  static absl::StatusOr<SafetensorsFile> Open(
      const std::filesystem::path& path, size_t bytes_max = std::numeric_limits<size_t>::max());

  const SafetensorsHeader& header() const { return header_; }
  size_t size() const { return file_->size(); }  // in bytes

  // A tensor of dtype F64, F32, F16 or BF16, which keeps the file open. NotFound: no such tensor.
  // InvalidArgument: any other dtype. Reading the tensor fails with the errors of OpenFile::Read.
  absl::StatusOr<StoredTensor> Find(const std::string& name) const;
  // The same, read to memory of its own on the CPU.
  absl::StatusOr<at::Tensor> Get(const std::string& name) const;
  // The number in a tensor of one, which may also be of dtype I64, I32, I16, I8 or U8.
  absl::StatusOr<double> GetNumber(const std::string& name) const;

  // Adds all bytes to `hash`, as a part of this name. Errors are those of OpenFile::Read.
  absl::Status AddTo(Sha256& hash, std::string_view name) const;

 private:
  SafetensorsFile(std::shared_ptr<const OpenFile> file, SafetensorsHeader header)
      : file_(std::move(file)), header_(std::move(header)) {}

  std::shared_ptr<const OpenFile> file_;
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
