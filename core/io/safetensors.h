// Files of named tensors, mapped and written. The format is described in safetensors_header.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/files/mapped_file.h"
#include "core/io/safetensors_header.h"

namespace denoise {

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
