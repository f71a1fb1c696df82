// A file that is read in pieces, as it was when it was opened.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <filesystem>
#include <limits>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/file_descriptor.h"

namespace denoise {

// Reads are copies, not views of a mapping: if somebody truncated a mapped file, reading the lost
// pages would kill the process with SIGBUS. A file that is removed, or replaced by renaming another
// one, can still be read. Thread-safe.
class OpenFile {
 public:
  // NotFound: no such file. InvalidArgument: not a regular file, or larger than `bytes_max`.
  // Messages do not contain the path.
  static absl::StatusOr<std::shared_ptr<const OpenFile>> Open(
      const std::filesystem::path& path, size_t bytes_max = std::numeric_limits<size_t>::max());

  size_t size() const { return static_cast<size_t>(state_.st_size); }

  // Copies `count` bytes from `offset` to `memory`. OutOfRange: the file has fewer. Aborted: it has
  // been written to or truncated since it was opened, so bytes that were read before may not
  // belong to these.
  absl::Status Read(size_t offset, size_t count, char* memory) const;

 private:
  OpenFile(FileDescriptor descriptor, const struct stat& state)
      : descriptor_(std::move(descriptor)), state_(state) {}

  absl::Status CheckUnchanged() const;

  const FileDescriptor descriptor_;
  const struct stat state_;  // when it was opened
};

}  // namespace denoise
