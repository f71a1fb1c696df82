// The hidden file ".denoise-run" of a folder: which run wrote there, and which files.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/file_descriptor.h"

namespace denoise {

struct RunFiles {
  std::string run;                 // its name; may be empty
  std::vector<std::string> files;  // those that exist, relative to the folder
};

// What the list in `folder` says; empty if there is none. Anybody may have changed it, so names that
// lead out of the folder, by ".." or through a link, are left out.
RunFiles ReadRunList(const std::filesystem::path& folder);

// Removes a file that a list names, and its folder once that is empty. Follows no link.
void RemoveListedFile(const std::filesystem::path& folder, const std::string& name);

// The list of a run that writes to a folder now. It is locked while the object lives, so that two
// runs at the same time never share a folder; the lock ends with the process, however that ends. A
// list that is still empty by then is removed. Not thread-safe.
class RunList {
 public:
  // AlreadyExists while another run has it. Internal if it cannot be written.
  static absl::StatusOr<RunList> Lock(const std::filesystem::path& folder);

  RunList(RunList&&) = default;
  RunList& operator=(RunList&& other) noexcept {
    path_.swap(other.path_);
    file_ = std::move(other.file_);  // swaps as well
    return *this;
  }
  ~RunList();

  // Replaces what an earlier run has left in the list.
  absl::Status Start(const RunFiles& run);
  absl::Status Add(const std::string& name);

 private:
  RunList(std::filesystem::path path, FileDescriptor file)
      : path_(std::move(path)), file_(std::move(file)) {}

  absl::Status Append(const std::string& text);

  std::filesystem::path path_;
  FileDescriptor file_;
};

}  // namespace denoise
