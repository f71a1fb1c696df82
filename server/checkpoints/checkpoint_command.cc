#include "server/checkpoints/checkpoint_command.h"

#include <system_error>

#include "core/base/quoted.h"
#include "server/models/model_id.h"

namespace denoise {

namespace fs = std::filesystem;

std::string CheckFolder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error) ? "" : "there is no folder " + Quoted(path);
}

std::string CheckModelFolder(const std::string& path) {
  std::error_code error;
  const fs::path folder = fs::absolute(fs::path(path) / ".", error).lexically_normal();
  const std::string name = folder.parent_path().filename().string();
  if (IsValidModelId(name)) return "";
  return "no server takes " + Quoted(name) + " as a model: " + kModelIdRule +
         ", and at most 128 characters before that";
}

absl::Status CheckAbsent(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(folder, error))) return absl::OkStatus();
  return absl::AlreadyExistsError("the folder exists; choose another name, or remove it");
}

}  // namespace denoise
