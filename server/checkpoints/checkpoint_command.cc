#include "server/checkpoints/checkpoint_command.h"

#include <system_error>

#include "core/base/quoted.h"

namespace denoise {

namespace fs = std::filesystem;

std::string CheckFolder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error) ? "" : "there is no folder " + Quoted(path);
}

absl::Status CheckAbsent(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(folder, error))) return absl::OkStatus();
  return absl::AlreadyExistsError("the folder exists; choose another name, or remove it");
}

}  // namespace denoise
