#include "core/base/retry.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {
constexpr char kPayloadUrl[] = "denoise/retry-delay-ms";
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
  constexpr absl::Duration kRetryDelay = absl::Seconds(5);
  return UnavailableRetryAfter("the server is draining; try another replica", kRetryDelay);
}

}  // namespace denoise
