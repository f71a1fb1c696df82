#include "core/base/retry.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"

namespace denoise {
namespace {
constexpr char kPayloadUrl[] = "denoise/retry-delay-ms";
// For requests that another replica can take at once.
constexpr absl::Duration kRetryElsewhere = absl::Seconds(5);
}  // namespace

absl::Status UnavailableRetryAfter(std::string_view message, absl::Duration delay) {
  return WithRetryDelay(absl::UnavailableError({message.data(), message.size()}), delay);
}

absl::Status WithRetryDelay(absl::Status status, absl::Duration delay) {
  status.SetPayload(kPayloadUrl, absl::Cord(absl::StrCat(absl::ToInt64Milliseconds(delay))));
  return status;
}

std::optional<absl::Duration> GetRetryDelay(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayloadUrl);
  int64_t milliseconds = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &milliseconds))
    return std::nullopt;
  return absl::Milliseconds(milliseconds);
}

absl::Status DrainingError() {
  return UnavailableRetryAfter("the server is draining; try another replica", kRetryElsewhere);
}

absl::Status DeviceFailedError() {
  return WithErrorReason(
      UnavailableRetryAfter("the device has failed, and no other one of this server can take the "
                            "request; try another replica, or this one after its restart",
                            kRetryElsewhere),
      kDeviceFailedReason);
}

}  // namespace denoise
