// A checkpoint's folder, whose files are named relative to it. Internal to core/io.
#pragma once

#include <exception>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/io/safetensors.h"

namespace denoise {

// `status` with `file` before its message, code and payloads kept.
absl::Status InFile(std::string_view file, const absl::Status& status);

// `load()`, or ResourceExhausted where a library throws: its texts may hold paths and stacks.
template <typename Load>
auto WithoutExceptions(const Load& load) -> decltype(load()) {
  try {
    return load();
  } catch (const std::exception&) {
    return absl::ResourceExhaustedError("a library failed, most likely for want of memory");
  }
}

// Statuses name files relative to the folder and never the folder.
//
// Symbolic links are followed: caches of downloaded models and volumes of Kubernetes are made of
// them, and whoever may put a link into the folder may put the file there. What a link leads to is
// as little trusted as a file: it is read only when it is a regular file, and no message quotes it.
class ModelFolder {
 public:
  // NotFound: no such folder.
  static absl::StatusOr<ModelFolder> Open(const std::filesystem::path& path);

  bool HasFile(const std::string& file) const;
  bool HasFolder(const std::string& folder) const;

  // The whole file. InvalidArgument: larger than `max_bytes`, or not a regular file.
  absl::StatusOr<std::string> ReadText(const std::string& file, size_t max_bytes) const;
  absl::StatusOr<SafetensorsFile> OpenSafetensors(const std::string& file) const;

 private:
  explicit ModelFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

}  // namespace denoise
