#include "server/jobs/upload_spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "core/base/status_macros.h"
#include "core/io/sha256.h"
#include "server/jobs/files.h"

namespace denoise {
namespace {
constexpr size_t kBlockBytes = 1 << 20;
}  // namespace

absl::StatusOr<UploadSpool> UploadSpool::Open(const std::filesystem::path& path, int64_t offset) {
  RETURN_IF_ERROR(MakeFolder(path.parent_path()));
  FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.get() < 0) return FileError(errno, "an upload cannot be opened");
  struct stat info;
  if (fstat(file.get(), &info) != 0) return FileError(errno, "an upload cannot be examined");
  if (info.st_size < offset) return absl::DataLossError("an upload has lost bytes");
  if (ftruncate(file.get(), offset) != 0) return FileError(errno, "an upload cannot be written");
  RETURN_IF_ERROR(SyncFolder(path.parent_path()));
  return UploadSpool(std::move(file), offset);
}

absl::Status UploadSpool::Append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(file_.get(), bytes.data(), bytes.size(), size_);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(errno, "an upload cannot be written");
    size_ += written;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status UploadSpool::Sync() {
  if (fdatasync(file_.get()) != 0) return FileError(errno, "an upload cannot be written");
  synced_ = size_;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const RegularFile file, OpenRegularFile(path));
  Sha256 hash;
  std::vector<char> block(kBlockBytes);
  while (true) {
    const ssize_t bytes = read(file.descriptor.get(), block.data(), block.size());
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return FileError(errno, "an upload cannot be read");
    if (bytes == 0) return absl::HexStringToBytes(hash.Finish());
    hash.Add({block.data(), static_cast<size_t>(bytes)});
  }
}

}  // namespace denoise
