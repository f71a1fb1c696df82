// A minimal HTTP client, for reading a metrics page.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace denoise {

// The body of http://`address``path`, where `address` is "HOST:PORT". Unavailable: no answer.
// Internal: the status is not 200.
absl::StatusOr<std::string> HttpGet(const std::string& address, const std::string& path);

}  // namespace denoise
