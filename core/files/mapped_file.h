// A whole file as memory.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

// A private, read-only mapping of a regular file; whatever shares it keeps it alive. Thread-safe.
//
// Replace a file that may be mapped by renaming another one over it, as WriteSafetensors does: the
// mapping stays with the old one. Cutting it short in place ends every process that reads the lost
// pages with SIGBUS, as for any mapping.
class MappedFile {
 public:
  // NotFound: no such file. InvalidArgument: not a regular file. Messages do not contain the path.
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(const std::filesystem::path& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::string_view bytes) : bytes_(bytes) {}

  const std::string_view bytes_;
};

}  // namespace denoise
