#include "server/models/models_folder.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/file_descriptor.h"
#include "core/base/file_system_error.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/files/folders.h"
#include "server/models/folder_fingerprint.h"
#include "server/models/model_id.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr char kIncoming[] = ".incoming";
constexpr char kReplaced[] = ".replaced";
constexpr char kDeleted[] = ".deleted";
constexpr char kLock[] = ".lock";

constexpr absl::Duration kLockPatience = absl::Seconds(20);
constexpr absl::Duration kLockPause = absl::Milliseconds(20);
// Files that change under a reader are read again this often.
constexpr int kReadAttempts = 5;
constexpr absl::Duration kReadRetryDelay = absl::Seconds(5);

absl::Status CannotWrite(const absl::Status& status) {
  if (absl::IsPermissionDenied(status)) {
    return absl::FailedPreconditionError(
        "the models folder cannot be written to: a server that publishes models needs a writable "
        "one");
  }
  return status;
}

absl::Status CannotWrite(int error) {
  return CannotWrite(FileSystemError(error, "cannot write the models folder"));
}

// Keeps other threads and processes from changing the folder while the descriptor is open. Waits
// for those that do, within reason: Unavailable.
absl::StatusOr<FileDescriptor> Lock(const fs::path& root) {
  FileDescriptor file(open((root / kLock).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (file.get() < 0) return CannotWrite(errno);
  const absl::Time deadline = absl::Now() + kLockPatience;
  while (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return CannotWrite(errno);
    if (absl::Now() > deadline) {
      return UnavailableRetryAfter("another process is changing the models folder", kLockPatience);
    }
    absl::SleepFor(kLockPause);
  }
  return file;
}

// Durable once it returns. Nothing has the name `to`.
absl::Status Move(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) return CannotWrite(errno);
  RETURN_IF_ERROR(SyncFolder(to.parent_path()));
  return SyncFolder(from.parent_path());
}

// Repairs what an interrupted install has left. The caller holds the lock.
absl::Status RepairLocked(const fs::path& root) {
  std::error_code error;  // somebody's link is removed, and what it leads to left alone
  if (fs::is_directory(fs::symlink_status(root / kReplaced, error))) {
    ASSIGN_OR_RETURN(const auto ids, VisibleNames(root / kReplaced));
    for (const std::string& id : ids) {
      if (!HasName(root / id)) RETURN_IF_ERROR(Move(root / kReplaced / id, root / id));
    }
  }
  for (const char* hidden : {kReplaced, kDeleted, kIncoming}) {
    RETURN_IF_ERROR(CannotWrite(RemoveTree(root / hidden)));
  }
  return absl::OkStatus();
}

// Gives the name `id` to the incoming version, in place of the one that has it now, if any.
absl::Status Swap(const fs::path& root, const std::string& id) {
  const bool replaces = HasName(root / id);
  if (replaces) RETURN_IF_ERROR(Move(root / id, root / kReplaced / id));
  return Move(root / kIncoming / id, root / id);
}

}  // namespace

ModelsFolder::ModelsFolder(fs::path root) : root_(std::move(root)) {}

absl::Status ModelsFolder::Repair() const {
  if (!HasName(root_ / kReplaced) && !HasName(root_ / kDeleted) && !HasName(root_ / kIncoming)) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const FileDescriptor lock, Lock(root_));
  return RepairLocked(root_);
}

absl::StatusOr<std::vector<ModelEntry>> ModelsFolder::List() const { return ListModels(root_); }

absl::StatusOr<fs::path> ModelsFolder::Find(const std::string& id) const {
  return FindModel(root_, id);
}

absl::StatusOr<ParsedModel> ModelsFolder::Open(const std::string& id) const {
  for (int attempt = 0; attempt < kReadAttempts; ++attempt) {
    const absl::StatusOr<fs::path> folder = Find(id);
    // Between two renames, a model that is being replaced has no folder.
    const bool comes_back = absl::IsNotFound(folder.status()) && IsValidModelId(id) &&
                            HasName(root_ / kReplaced / id) && attempt + 1 < kReadAttempts;
    if (!folder.ok() && !comes_back) return folder.status();
    if (folder.ok()) {
      absl::StatusOr<ParsedModel> parsed = ReadUnchanged<ParsedModel>(*folder);
      if (!absl::IsAborted(parsed.status())) return parsed;
    }
    absl::SleepFor(kLockPause);
  }
  return UnavailableRetryAfter("the model's files are being replaced", kReadRetryDelay);
}

absl::Status ModelsFolder::Install(const std::string& id, const Writer& write,
                                   const Loader& load) const {
  if (!IsValidModelId(id)) return absl::InvalidArgumentError(kModelIdRule);
  ASSIGN_OR_RETURN(const FileDescriptor lock, Lock(root_));
  RETURN_IF_ERROR(RepairLocked(root_));
  const auto tidy = absl::MakeCleanup([&] { RepairLocked(root_).IgnoreError(); });
  RETURN_IF_ERROR(CannotWrite(MakeFolder(root_ / kIncoming)));
  RETURN_IF_ERROR(CannotWrite(MakeFolder(root_ / kReplaced)));
  const fs::path incoming = root_ / kIncoming / id;
  RETURN_IF_ERROR(write(incoming));
  RETURN_IF_ERROR(load(incoming));
  return Swap(root_, id);
}

absl::Status ModelsFolder::Delete(const std::string& id) const {
  ASSIGN_OR_RETURN(const FileDescriptor lock, Lock(root_));
  RETURN_IF_ERROR(RepairLocked(root_));
  // Only what is a model's folder is removed.
  RETURN_IF_ERROR(FindModel(root_, id).status());
  if (!HasName(root_ / id)) {
    return absl::FailedPreconditionError(
        "the model is in a Hugging Face cache, whose files other programs may use; remove it with "
        "the tools of that cache");
  }
  RETURN_IF_ERROR(CannotWrite(MakeFolder(root_ / kDeleted)));
  RETURN_IF_ERROR(Move(root_ / id, root_ / kDeleted / id));
  return RepairLocked(root_);
}

}  // namespace denoise
