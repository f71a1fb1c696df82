// Files that commands write, and the folder that a generation is written to.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/image/image.h"

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

  // Likewise for a sheet of many pictures, as PNG. Where it could not be made, being too large
  // (InvalidArgument), the path is empty, and left_out() says why.
  absl::StatusOr<std::string> WriteSheet(const std::string& name,
                                         const absl::StatusOr<Image>& sheet);
  // The same for `bytes`, which may go elsewhere than to the folder.
  absl::StatusOr<std::string> WriteUnlessTooLarge(const std::filesystem::path& path,
                                                  const absl::StatusOr<std::string>& bytes);

  // For people; empty where everything was written.
  const std::string& left_out() const { return left_out_; }

 private:
  explicit OutputFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
  std::string left_out_;
};

}  // namespace denoise
