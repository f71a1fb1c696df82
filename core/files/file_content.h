// The bytes of a whole file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <limits>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

// A regular file as it was when it was read, in page-aligned memory of its own, kept alive by its
// shared pointers. It is not a mapping of the file: if somebody truncated that, reading the lost
// pages would kill the process with SIGBUS. Thread-safe.
class FileContent {
 public:
  // NotFound: no such file. InvalidArgument: not a regular file, larger than `bytes_max`, or
  // truncated while it was read. ResourceExhausted: it does not fit into memory. Messages do not
  // contain the path.
  static absl::StatusOr<std::shared_ptr<const FileContent>> Read(
      const std::filesystem::path& path, size_t bytes_max = std::numeric_limits<size_t>::max());

  ~FileContent();
  FileContent(const FileContent&) = delete;
  FileContent& operator=(const FileContent&) = delete;

  std::string_view bytes() const { return bytes_; }

 private:
  explicit FileContent(std::string_view bytes) : bytes_(bytes) {}

  const std::string_view bytes_;
};

}  // namespace denoise
