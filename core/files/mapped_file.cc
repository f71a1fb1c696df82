#include "core/files/mapped_file.h"

#include <sys/mman.h>

#include "core/base/file_descriptor.h"
#include "core/base/status_macros.h"

namespace denoise {

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Open(
    const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const RegularFile file, OpenRegularFile(path));
  if (file.size == 0)
    return std::shared_ptr<const MappedFile>(new MappedFile({}));  // cannot be mapped
  void* memory = mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.descriptor.get(), 0);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(errno, "cannot be mapped");
  return std::shared_ptr<const MappedFile>(
      new MappedFile({static_cast<const char*>(memory), file.size}));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

}  // namespace denoise
