// The folder of a checkpoint.
#pragma once

#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/io/safetensors.h"

namespace denoise {

// `status` with `file` before its message, code and payloads kept.
absl::Status InFile(std::string_view file, const absl::Status& status);
template <typename Value>
absl::StatusOr<Value> InFile(std::string_view file, absl::StatusOr<Value> value) {
  if (!value.ok()) return InFile(file, value.status());
  return value;
}

// `load()`, or ResourceExhausted where a library throws. The texts of exceptions may contain paths
// and stack traces, so they are dropped.
template <typename Load>
auto WithoutExceptions(const Load& load) -> decltype(load()) {
  try {
    return load();
  } catch (const std::exception&) {
    return absl::ResourceExhaustedError("a library failed, most likely for want of memory");
  }
}

// Statuses name files relative to the folder and never the folder itself.
//
// Symbolic links are followed, because caches of downloaded models and volumes of Kubernetes
// consist of them, and whoever can put a link into the folder could put the file there. The target
// of a link is trusted no more than a file: it is read only if it is a regular file, and messages
// never quote it.
class ModelFolder {
 public:
  // NotFound: no such folder.
  static absl::StatusOr<ModelFolder> Open(const std::filesystem::path& path);

  // Also a link that leads nowhere; reading it says so.
  bool HasFile(const std::string& file) const;
  bool HasFolder(const std::string& folder) const;
  // The files of `folder`, "" for the model's own, by name and in order; the first thousand.
  std::vector<std::string> FileNames(const std::string& folder) const;
  // Whether there is a part of a file of `folder` that was not downloaded to its end.
  bool HasUnfinishedDownload(const std::string& folder) const;

  // The whole file. InvalidArgument: larger than `max_bytes`, not a regular file, or of a kind that
  // is no text of a model (foreign_file.h). NotFound: no such file, or a link that leads nowhere.
  absl::StatusOr<std::string> ReadText(const std::string& file, size_t max_bytes) const;
  absl::StatusOr<SafetensorsFile> OpenSafetensors(const std::string& file, size_t max_bytes) const;

 private:
  explicit ModelFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

}  // namespace denoise
