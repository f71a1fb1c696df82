// Just enough HTTP to read a metrics page.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace denoise {

// The body of http://`address``path`; `address` is "HOST:PORT". UNAVAILABLE when nobody answers,
// INTERNAL when the answer is not 200.
absl::StatusOr<std::string> HttpGet(const std::string& address, const std::string& path);

}  // namespace denoise
