// "Not now, try again in a while", as a status.
#pragma once

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace denoise {

// UNAVAILABLE, carrying how long a caller should wait.
absl::Status UnavailableRetryAfter(std::string_view message, absl::Duration delay);

// The delay a status carries, if any.
std::optional<absl::Duration> GetRetryDelay(const absl::Status& status);

// What calls are told once the server shuts down: to try another replica.
absl::Status DrainingError();

}  // namespace denoise
