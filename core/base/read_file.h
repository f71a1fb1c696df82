// Small files that a flag names, as a whole.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace denoise {

// The bytes of `path`. InvalidArgument where it cannot be read, is empty or has more than
// `max_bytes`; the message names the path, so it is for whoever gave the flag and not for callers
// from outside.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes);

}  // namespace denoise
