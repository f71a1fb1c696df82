#include "server/jobs/store/id_folders.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <string_view>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/files/folders.h"
#include "server/jobs/store/files.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRemoved = ".removed-";
constexpr std::string_view kCreating = ".creating-";

// Only the form that we write ourselves, behind `prefix`.
std::optional<int64_t> IdIn(const std::string& name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  const std::string digits = name.substr(prefix.size());
  int64_t id = 0;
  if (!absl::SimpleAtoi(digits, &id) || id < 1 || std::to_string(id) != digits) {
    return std::nullopt;
  }
  return id;
}

fs::path Named(const fs::path& folder, std::string_view prefix, int64_t id) {
  return folder / std::string(prefix).append(std::to_string(id));
}

absl::Status Rename(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return DiskStatus(FileSystemError(errno, "cannot rename a folder"));
  }
  return DiskStatus(SyncFolder(to.parent_path()));
}

}  // namespace

IdFolders ListIdFolders(const fs::path& folder) {
  IdFolders result;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (const auto id = IdIn(name, "")) {
      result.ids.push_back(*id);
    } else if (const auto removed = IdIn(name, kRemoved)) {
      result.removed.push_back(*removed);
    } else if (const auto creating = IdIn(name, kCreating)) {
      result.creating.push_back(*creating);
    } else {
      result.others.push_back(entry.path());
    }
  }
  std::sort(result.ids.begin(), result.ids.end());
  std::sort(result.others.begin(), result.others.end());
  return result;
}

fs::path RemovedPath(const fs::path& folder, int64_t id) { return Named(folder, kRemoved, id); }
fs::path CreatingPath(const fs::path& folder, int64_t id) { return Named(folder, kCreating, id); }

absl::Status FinishCreating(const fs::path& folder, int64_t id) {
  return Rename(CreatingPath(folder, id), folder / std::to_string(id));
}

absl::Status MarkRemoved(const fs::path& folder, int64_t id) {
  return Rename(folder / std::to_string(id), RemovedPath(folder, id));
}

absl::Status UnmarkRemoved(const fs::path& folder, int64_t id) {
  return Rename(RemovedPath(folder, id), folder / std::to_string(id));
}

absl::Status EmptyRemoved(const fs::path& folder, int64_t id) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(RemovedPath(folder, id), error)) {
    RETURN_IF_ERROR(DiskStatus(RemoveTree(entry.path())));
  }
  return absl::OkStatus();
}

absl::Status ForgetRemoved(const fs::path& folder, int64_t id) {
  return DiskStatus(RemoveTree(RemovedPath(folder, id)));
}

}  // namespace denoise
