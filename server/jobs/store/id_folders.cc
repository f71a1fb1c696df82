#include "server/jobs/store/id_folders.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/file_system_error.h"
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
    if (errno != ENOENT) return DiskStatus(FileSystemError(errno, "cannot rename a folder"));
    // Without its parent, it may only be out of reach.
    ASSIGN_OR_RETURN(const bool has_parent, IsThere(to.parent_path()));
    return has_parent
               ? absl::OkStatus()
               : absl::UnavailableError("the server's disk: a folder of its state is missing");
  }
  return DiskStatus(SyncFolder(to.parent_path()));
}

}  // namespace

absl::StatusOr<IdFolders> ListIdFolders(const fs::path& folder) {
  const auto paths = ListFolder(folder);
  RETURN_IF_ERROR(DiskStatus(paths.status()));
  IdFolders result;
  for (const fs::path& path : *paths) {
    const std::string name = path.filename().string();
    if (const auto id = IdIn(name, "")) {
      result.ids.push_back(*id);
    } else if (const auto removed = IdIn(name, kRemoved)) {
      result.removed.push_back(*removed);
    } else if (const auto creating = IdIn(name, kCreating)) {
      result.creating.push_back(*creating);
    } else if (name != "lost+found") {
      result.others.push_back(path);
    }
  }
  std::sort(result.ids.begin(), result.ids.end());
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
  const auto paths = ListFolder(RemovedPath(folder, id));
  if (absl::IsNotFound(paths.status())) return absl::OkStatus();
  RETURN_IF_ERROR(DiskStatus(paths.status()));
  for (const fs::path& path : *paths) RETURN_IF_ERROR(DiskStatus(RemoveTree(path)));
  return absl::OkStatus();
}

absl::Status ForgetRemoved(const fs::path& folder, int64_t id) {
  return DiskStatus(RemoveTree(RemovedPath(folder, id)));
}

}  // namespace denoise
