#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace denoise {

// The errno `error` of a file as a status: ResourceExhausted if the disk or a quota is full,
// Unavailable if the process or the machine lacks something else for the moment (descriptors,
// memory), else as absl::ErrnoToStatus has it.
absl::Status FileSystemError(int error, std::string_view message);

}  // namespace denoise
