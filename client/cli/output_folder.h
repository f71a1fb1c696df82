// Files that commands write, and the folder that a generation is written to.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

struct WrittenFile {
  std::string path;
  size_t size_bytes = 0;
};

// Writes `bytes` to `path`, making folders on the way. The file appears whole or not at all: it is
// written beside its place and then renamed. Internal, naming the file and the system's reason, when
// the disk is full or the like.
absl::StatusOr<WrittenFile> WriteWholeFile(const std::filesystem::path& path,
                                           std::string_view bytes);

// Files of the same name are replaced, others are left alone. Not thread-safe.
class OutputFolder {
 public:
  // Makes the folder, with its parents, and checks that it may be written to. InvalidArgument for
  // --out otherwise.
  static absl::StatusOr<OutputFolder> Open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }

  // Writes `bytes` to `name` below the folder, as WriteWholeFile does. `name` is ours, never the
  // server's.
  absl::StatusOr<WrittenFile> Write(const std::string& name, std::string_view bytes);

 private:
  explicit OutputFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

}  // namespace denoise
