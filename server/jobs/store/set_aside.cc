#include "server/jobs/store/set_aside.h"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "core/base/file_system_error.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/files/folders.h"
#include "server/jobs/store/files.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

bool IsThere(const fs::path& path) {
  std::error_code error;
  return fs::symlink_status(path, error).type() != fs::file_type::not_found;
}

// `path`, or with a number behind it where that name is taken.
fs::path FreeName(const fs::path& path) {
  fs::path free = path;
  for (int i = 2; IsThere(free); ++i) free = absl::StrCat(path.string(), ".", i);
  return free;
}

}  // namespace

absl::Status SetAside::Move(const fs::path& path, std::string_view reason) {
  RETURN_IF_ERROR(MakeFolder());
  const std::string item = path.lexically_relative(state_->path()).generic_string();
  const fs::path goal = FreeName(folder_ / absl::StrReplaceAll(item, {{"/", "-"}}));
  if (std::rename(path.c_str(), goal.c_str()) != 0) {
    return DiskStatus(FileSystemError(errno, absl::StrCat(item, " cannot be set aside")));
  }
  RETURN_IF_ERROR(DiskStatus(SyncFolder(folder_)));
  RETURN_IF_ERROR(DiskStatus(SyncFolder(path.parent_path())));
  Report("set aside", goal.lexically_relative(state_->path()).generic_string(), reason);
  return absl::OkStatus();
}

void SetAside::Report(std::string_view what, std::string_view item, std::string_view reason) const {
  if (observer_ != nullptr) observer_->OnRecovery(what, item, reason);
}

absl::Status SetAside::MakeFolder() {
  if (!folder_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(DiskStatus(denoise::MakeFolder(state_->set_aside(), 0700)));
  const std::string time = absl::FormatTime("%Y%m%dT%H%M%SZ", clock_->Now(), absl::UTCTimeZone());
  const fs::path folder = FreeName(state_->set_aside() / time);
  RETURN_IF_ERROR(DiskStatus(denoise::MakeFolder(folder, 0700)));
  folder_ = folder;
  return absl::OkStatus();
}

}  // namespace denoise
