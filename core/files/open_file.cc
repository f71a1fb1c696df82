#include "core/files/open_file.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/file_system_error.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

bool operator==(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

absl::Status HasChanged() {
  return absl::AbortedError(
      "has changed while it was read; try again once it has been copied or downloaded");
}

}  // namespace

absl::StatusOr<std::shared_ptr<const OpenFile>> OpenFile::Open(const std::filesystem::path& path,
                                                               size_t bytes_max) {
  ASSIGN_OR_RETURN(RegularFile file, OpenRegularFile(path));
  struct stat state;
  if (fstat(file.descriptor.get(), &state) != 0) {
    return FileSystemError(errno, "cannot be examined");
  }
  std::shared_ptr<const OpenFile> opened(new OpenFile(std::move(file.descriptor), state));
  if (opened->size() > bytes_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", opened->size(), " bytes; at most ", bytes_max, " are allowed"));
  }
  return opened;
}

absl::Status OpenFile::Read(size_t offset, size_t count, char* memory) const {
  if (offset > size() || count > size() - offset) {
    return absl::OutOfRangeError(
        absl::StrCat("has ", size(), " bytes, but ", count, " were to be read at ", offset));
  }
  for (size_t done = 0; done < count;) {
    const ssize_t read =
        pread(descriptor_.get(), memory + done, count - done, static_cast<off_t>(offset + done));
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) return FileSystemError(errno, "cannot be read");
    if (read == 0) return HasChanged();
    done += static_cast<size_t>(read);
  }
  return CheckUnchanged();
}

absl::Status OpenFile::CheckUnchanged() const {
  struct stat now;
  if (fstat(descriptor_.get(), &now) != 0) return FileSystemError(errno, "cannot be examined");
  // Some programs set the time of the last write back; that of the last change tells. It also
  // changes when the last name is removed, after which nobody finds the file to write to it.
  const bool same = now.st_size == state_.st_size && now.st_mtim == state_.st_mtim &&
                    (now.st_nlink == 0 || now.st_ctim == state_.st_ctim);
  return same ? absl::OkStatus() : HasChanged();
}

}  // namespace denoise
