#include "server/models/models_folder.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/base/file_descriptor.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/files/folders.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr char kIncoming[] = ".incoming";
constexpr char kReplaced[] = ".replaced";
constexpr char kDeleted[] = ".deleted";
constexpr char kLock[] = ".lock";

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

// Whether anything has this name, even a link that leads nowhere.
bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

// Keeps other threads and processes from changing the folder while the descriptor is open. Waits
// for those that do.
absl::StatusOr<FileDescriptor> Lock(const fs::path& root) {
  FileDescriptor file(open((root / kLock).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (file.get() < 0) return CannotWrite(errno);
  while (flock(file.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return CannotWrite(errno);
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
  if (Exists(root / kReplaced)) {
    ASSIGN_OR_RETURN(const auto ids, VisibleNames(root / kReplaced));
    for (const std::string& id : ids) {
      if (!Exists(root / id)) RETURN_IF_ERROR(Move(root / kReplaced / id, root / id));
    }
  }
  for (const char* hidden : {kReplaced, kDeleted, kIncoming}) {
    RETURN_IF_ERROR(CannotWrite(RemoveTree(root / hidden)));
  }
  return absl::OkStatus();
}

// Gives the name `id` to the incoming version, in place of the one that has it now, if any.
absl::Status Swap(const fs::path& root, const std::string& id) {
  const bool replaces = Exists(root / id);
  if (replaces) RETURN_IF_ERROR(Move(root / id, root / kReplaced / id));
  return Move(root / kIncoming / id, root / id);
}

}  // namespace

ModelsFolder::ModelsFolder(fs::path root) : root_(std::move(root)) {}

absl::Status ModelsFolder::Repair() const {
  if (!Exists(root_ / kReplaced) && !Exists(root_ / kDeleted) && !Exists(root_ / kIncoming)) {
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
  // The lock keeps others from replacing it meanwhile. Where the folder cannot be written to,
  // nobody can.
  const absl::StatusOr<FileDescriptor> lock = Lock(root_);
  if (!lock.ok() && !absl::IsFailedPrecondition(lock.status())) return lock.status();
  ASSIGN_OR_RETURN(const fs::path folder, Find(id));
  return ParsedModel::Open(folder);
}

absl::StatusOr<ModelHandle> ModelsFolder::Install(const std::string& id, const Writer& write,
                                                  const Loader& load) const {
  if (!IsValidModelId(id)) return absl::InvalidArgumentError(kModelIdRule);
  ASSIGN_OR_RETURN(const FileDescriptor lock, Lock(root_));
  RETURN_IF_ERROR(RepairLocked(root_));
  const auto tidy = absl::MakeCleanup([&] { RepairLocked(root_).IgnoreError(); });
  RETURN_IF_ERROR(CannotWrite(MakeFolder(root_ / kIncoming)));
  RETURN_IF_ERROR(CannotWrite(MakeFolder(root_ / kReplaced)));
  const fs::path incoming = root_ / kIncoming / id;
  RETURN_IF_ERROR(write(incoming));
  ASSIGN_OR_RETURN(ModelHandle model, load(incoming));
  RETURN_IF_ERROR(Swap(root_, id));
  return model;
}

absl::Status ModelsFolder::Delete(const std::string& id) const {
  ASSIGN_OR_RETURN(const FileDescriptor lock, Lock(root_));
  RETURN_IF_ERROR(RepairLocked(root_));
  // Only what is a model's folder is removed.
  RETURN_IF_ERROR(FindModel(root_, id).status());
  if (!Exists(root_ / id)) {
    return absl::FailedPreconditionError(
        "the model is in a Hugging Face cache, whose files other programs may use; remove it with "
        "the tools of that cache");
  }
  RETURN_IF_ERROR(CannotWrite(MakeFolder(root_ / kDeleted)));
  RETURN_IF_ERROR(Move(root_ / id, root_ / kDeleted / id));
  return RepairLocked(root_);
}

}  // namespace denoise
