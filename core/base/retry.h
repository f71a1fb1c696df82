// Statuses that ask callers to retry later.
#pragma once

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace denoise {

// Unavailable, with the time that callers should wait before they retry.
absl::Status UnavailableRetryAfter(std::string_view message, absl::Duration delay);

// `status` with such a time.
absl::Status WithRetryDelay(absl::Status status, absl::Duration delay);

// The reasons (core/base/error_details.h) why a request is refused that might run at another time:
// the queue is full, its tenant has too much in progress, its deadline cannot be met, its device has
// failed.
inline constexpr char kQueueFullReason[] = "QUEUE_FULL";
inline constexpr char kTenantLimitReason[] = "TENANT_LIMIT";
inline constexpr char kDeadlineTooShortReason[] = "DEADLINE_TOO_SHORT";
inline constexpr char kDeviceFailedReason[] = "DEVICE_FAILED";

// The delay in a status, if any.
std::optional<absl::Duration> GetRetryDelay(const absl::Status& status);

// The status of calls during shutdown: retry on another replica.
absl::Status DrainingError();

// The status of requests that a failed device has ended: retry on another server, or here after a
// restart.
absl::Status DeviceFailedError();

}  // namespace denoise
