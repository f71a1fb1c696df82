#include "server/jobs/store/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <system_error>

#include "absl/strings/str_cat.h"
#include "core/base/file_descriptor.h"
#include "core/base/status_macros.h"
#include "core/files/folders.h"

namespace denoise {

absl::Status DiskStatus(const absl::Status& status) {
  if (status.ok()) return status;
  if (absl::IsResourceExhausted(status)) {
    return absl::ResourceExhaustedError("the server's disk is full");
  }
  return absl::UnavailableError(absl::StrCat("the server's disk: ", status.message()));
}

absl::StatusOr<bool> IsThere(const std::filesystem::path& path) {
  auto there = Exists(path);
  RETURN_IF_ERROR(DiskStatus(there.status()));
  return there;
}

int64_t TreeBytes(const std::filesystem::path& path) {
  std::error_code error;
  if (const auto size = std::filesystem::file_size(path, error); !error) {
    return static_cast<int64_t>(size);
  }
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path, error)) {
    const auto size = entry.is_regular_file(error) ? entry.file_size(error) : 0;
    if (!error) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

bool HasRoomFor(const std::filesystem::path& folder, int64_t bytes) {
  const std::filesystem::path path = folder / ".probe";
  const FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (file.get() < 0) return false;
  const bool has_room = posix_fallocate(file.get(), 0, bytes) == 0;
  unlink(path.c_str());
  return has_room;
}

}  // namespace denoise
