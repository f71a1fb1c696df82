#include "server/jobs/datasets/upload_spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/file_system_error.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/files/folders.h"
#include "server/jobs/store/files.h"

namespace denoise {
namespace {

absl::Status Failed(int error, std::string_view what) {
  return DiskStatus(FileSystemError(error, what));
}

}  // namespace

absl::StatusOr<UploadSpool> UploadSpool::Open(const std::filesystem::path& path, int64_t offset) {
  RETURN_IF_ERROR(DiskStatus(MakeFolder(path.parent_path(), 0700)));
  FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.get() < 0) return Failed(errno, "an upload cannot be opened");
  struct stat info;
  if (fstat(file.get(), &info) != 0) return Failed(errno, "an upload cannot be examined");
  if (info.st_size < offset) return absl::DataLossError("an upload has lost bytes");
  if (ftruncate(file.get(), offset) != 0) return Failed(errno, "an upload cannot be written");
  RETURN_IF_ERROR(DiskStatus(SyncFolder(path.parent_path())));
  return UploadSpool(std::move(file), offset);
}

absl::Status UploadSpool::Append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(file_.get(), bytes.data(), bytes.size(), size_);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failed(errno, "an upload cannot be written");
    size_ += written;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status UploadSpool::Sync() {
  if (fdatasync(file_.get()) != 0) return Failed(errno, "an upload cannot be written");
  synced_ = size_;
  return absl::OkStatus();
}

}  // namespace denoise
