// A file mapped into memory.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

// A private, read-only mapping of a regular file, kept alive by its shared pointers. Thread-safe.
//
// Replace a file that may be mapped by renaming another one over it, as WriteSafetensors does; the
// mapping then keeps the old content. Truncating it in place kills every process that reads the
// lost pages with SIGBUS.
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
