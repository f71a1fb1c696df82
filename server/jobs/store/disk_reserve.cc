#include "server/jobs/store/disk_reserve.h"

#include <fcntl.h>
#include <unistd.h>

#include "core/base/file_descriptor.h"

namespace denoise {
namespace {

// A deletion writes some pages to the journal; they all take less, even copied into the database.
constexpr int64_t kReserveBytes = 2 << 20;

}  // namespace

void DiskReserve::Release() { unlink(path_.c_str()); }

void DiskReserve::Take() {
  const FileDescriptor file(open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (file.get() < 0) return;
  if (posix_fallocate(file.get(), 0, kReserveBytes) != 0) Release();
}

}  // namespace denoise
