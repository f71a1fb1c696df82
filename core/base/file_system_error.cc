#include "core/base/file_system_error.h"

#include <cerrno>

namespace denoise {

absl::Status FileSystemError(int error, std::string_view message) {
  const absl::Status status =
      absl::ErrnoToStatus(error, absl::string_view(message.data(), message.size()));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return absl::ResourceExhaustedError(status.message());
  }
  return absl::IsResourceExhausted(status) ? absl::UnavailableError(status.message()) : status;
}

}  // namespace denoise
