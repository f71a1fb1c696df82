// Files that commands write, and the folder that they write to.
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

// Writes `bytes` to `path`, creating folders on the way. The file appears whole or not at all: it
// is written beside its place and then renamed. Internal, with the file and the system's reason, if
// that fails.
absl::StatusOr<WrittenFile> WriteWholeFile(const std::filesystem::path& path,
                                           std::string_view bytes);

// Replaces files of the same name and leaves others alone. Not thread-safe.
class OutputFolder {
 public:
  // Creates the folder with its parents and checks that it can be written to. Otherwise
  // InvalidArgument for --out.
  static absl::StatusOr<OutputFolder> Open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }

  // Writes `bytes` to `name` below the folder, as WriteWholeFile does. `name` must never come from
  // the server.
  absl::StatusOr<WrittenFile> Write(const std::string& name, std::string_view bytes);

  // Writes a sheet of many pictures as PNG and returns its path. If the sheet is too large to be
  // made (InvalidArgument) the path is empty and left_out() says why.
  absl::StatusOr<std::string> WriteSheet(const std::string& name,
                                         const absl::StatusOr<Image>& sheet);
  // The same for `bytes`, which may go somewhere else than the folder.
  absl::StatusOr<std::string> WriteUnlessTooLarge(const std::filesystem::path& path,
                                                  const absl::StatusOr<std::string>& bytes);

  // For people; empty if everything was written.
  const std::string& left_out() const { return left_out_; }

 private:
  explicit OutputFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
  std::string left_out_;
};

}  // namespace denoise
