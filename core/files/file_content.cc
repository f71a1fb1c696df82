#include "core/files/file_content.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "core/base/file_descriptor.h"
#include "core/base/file_system_error.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

absl::Status ReadAll(int file, char* memory, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t count = pread(file, memory + done, size - done, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileSystemError(errno, "cannot be read");
    if (count == 0) return absl::InvalidArgumentError("became shorter while it was read");
    done += static_cast<size_t>(count);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const FileContent>> FileContent::Read(
    const std::filesystem::path& path, size_t bytes_max) {
  ASSIGN_OR_RETURN(const RegularFile file, OpenRegularFile(path));
  if (file.size > bytes_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", file.size, " bytes; at most ", bytes_max, " are allowed"));
  }
  if (file.size == 0) return std::shared_ptr<const FileContent>(new FileContent({}));
  void* const memory =
      mmap(nullptr, file.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return absl::ResourceExhaustedError("does not fit into memory");
  std::shared_ptr<const FileContent> content(
      new FileContent({static_cast<const char*>(memory), file.size}));
  RETURN_IF_ERROR(ReadAll(file.descriptor.get(), static_cast<char*>(memory), file.size));
  return content;
}

FileContent::~FileContent() {
  if (!bytes_.empty()) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

}  // namespace denoise
