// The safetensors format: named tensors in one file that can be mapped.
// https://github.com/huggingface/safetensors
//
//     8 bytes   the size of the header, little-endian
//     header    JSON: {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]},
//               ..., "__metadata__": {"key": "text"}}; offsets count from the header's end
//     data      little-endian, row-major, each byte part of exactly one tensor
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/io/mapped_file.h"

namespace denoise {

struct SafetensorsHeader {
  struct Entry {
    std::string dtype;           // one of the format's names
    std::vector<int64_t> shape;  // the product fits 63 bits, also without its zeros
    size_t begin = 0;            // bytes into the data
    size_t end = 0;              // begin + product of shape * size of dtype
  };

  std::map<std::string, Entry> tensors;
  std::map<std::string, std::string> metadata;
  size_t data_offset = 0;  // where the data begins in the file
};

// `file` is a whole file, and hostile. InvalidArgument names the tensor or key that breaks a rule
// of the format: header size beyond 100 MB or the file, anything but a JSON object, duplicate keys,
// unknown dtypes, sizes that overflow or contradict the offsets, overlaps, holes, or data that
// belongs to no tensor.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view file);

// An open file. Immutable and thread-safe; copies share the mapping.
class SafetensorsFile {
 public:
  // Errors as those of MappedFile::Open and ParseSafetensorsHeader.
  static absl::StatusOr<SafetensorsFile> Open(const std::filesystem::path& path);

  const SafetensorsHeader& header() const { return header_; }
  std::string_view bytes() const { return file_->bytes(); }

  // One tensor on the CPU: F64, F32, F16 or BF16. It views the mapping, keeps it alive and must not
  // be written to; one that lies at an odd address is a copy. NotFound: no such tensor.
  // InvalidArgument: any other dtype.
  absl::StatusOr<at::Tensor> Get(const std::string& name) const;

 private:
  SafetensorsFile(std::shared_ptr<const MappedFile> file, SafetensorsHeader header)
      : file_(std::move(file)), header_(std::move(header)) {}

  std::shared_ptr<const MappedFile> file_;
  SafetensorsHeader header_;
};

// Replaces `path` by a file of `tensors` (F64, F32, F16, BF16, on any device) at once: a reader
// sees the old file or the new one, a crash leaves one of them. The same tensors give the same
// bytes: data is sorted by dtype size and name, so that every tensor is aligned. InvalidArgument
// names a tensor that cannot be written; other codes come from the file system, and their messages
// do not contain the path.
absl::Status WriteSafetensors(const std::filesystem::path& path,
                              const std::map<std::string, at::Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace denoise
