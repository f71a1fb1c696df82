// A stream of bytes to pull from: a file, memory or a decoder.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace denoise {

// Not thread-safe. Must not be used after an error.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // Fills the front of `buffer` and returns the number of bytes written; 0 only at the end.
  // Requires a buffer that is not empty.
  virtual absl::StatusOr<size_t> Read(std::span<char> buffer) = 0;
};

// Opens a new source of the same bytes, from the beginning. Open twice to read twice.
using OpenBytes = std::function<absl::StatusOr<std::unique_ptr<ByteSource>>()>;

// A regular file. NotFound. InvalidArgument: not a regular file. Unavailable: it cannot be read.
// Messages do not contain the path.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenFileSource(const std::filesystem::path& path);

class StringSource : public ByteSource {
 public:
  explicit StringSource(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::StatusOr<size_t> Read(std::span<char> buffer) override;

 private:
  const std::string bytes_;
  size_t position_ = 0;
};

// Fills `buffer`. Returns less than its size only at the end of the source.
absl::StatusOr<size_t> ReadFully(ByteSource& source, std::span<char> buffer);

// The next `size` bytes, or fewer at the end. Memory grows with what the source holds, not with
// `size`.
absl::StatusOr<std::string> ReadString(ByteSource& source, size_t size);

// Skips `size` bytes and returns how many there were.
absl::StatusOr<int64_t> Skip(ByteSource& source, int64_t size);

}  // namespace denoise
