// Reads small files named by flags.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace denoise {

// The content of `path`. InvalidArgument: it cannot be read, is empty, or has more than
// `max_bytes`. The message names the path, so show it only to the user who gave the flag, not to
// remote callers.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes);

}  // namespace denoise
