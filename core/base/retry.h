// Statuses that ask callers to retry later.
#pragma once

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace denoise {

// Unavailable, with the time that callers should wait before they retry.
absl::Status UnavailableRetryAfter(std::string_view message, absl::Duration delay);

// The reason (core/base/error_details.h) of the refusal of a full queue.
inline constexpr char kQueueFullReason[] = "QUEUE_FULL";

// The delay in a status, if any.
std::optional<absl::Duration> GetRetryDelay(const absl::Status& status);

// The status of calls during shutdown: retry on another replica.
absl::Status DrainingError();

}  // namespace denoise
