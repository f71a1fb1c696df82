// Bytes in order, pulled piece by piece, from wherever they come: a file, memory, a decoder.
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

// Not thread-safe. After an error the source is of no more use.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // Writes to the front of `buffer`, which is not empty, and returns how many bytes; 0 only at the
  // end.
  virtual absl::StatusOr<size_t> Read(std::span<char> buffer) = 0;
};

// A new source of the same bytes, from the beginning: who needs to look twice opens twice.
using OpenBytes = std::function<absl::StatusOr<std::unique_ptr<ByteSource>>()>;

// Of a regular file. NotFound, InvalidArgument (not a regular file); Unavailable where it cannot be
// read. Messages do not contain the path.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenFileSource(const std::filesystem::path& path);

class StringSource : public ByteSource {
 public:
  explicit StringSource(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::StatusOr<size_t> Read(std::span<char> buffer) override;

 private:
  const std::string bytes_;
  size_t position_ = 0;
};

// Fills `buffer`; returns fewer bytes than it has only at the end of the source.
absl::StatusOr<size_t> ReadFully(ByteSource& source, std::span<char> buffer);

// The next `size` bytes, or fewer at the end. Memory grows with what is there, not with `size`.
absl::StatusOr<std::string> ReadString(ByteSource& source, size_t size);

// Passes over `size` bytes; returns how many there were.
absl::StatusOr<int64_t> Skip(ByteSource& source, int64_t size);

}  // namespace denoise
