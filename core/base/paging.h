// Pages of a list, as the public design guide has them (AIP-158).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

// 0 is the server's choice, and more than the most is the most. InvalidArgument names "page_size".
absl::StatusOr<int> PageSize(int page_size);

// What a page holds at most, if it holds more than one entry: it fits gRPC's usual receive cap.
inline constexpr size_t kMaxPageBytes = 2 << 20;

// A token that says after which entry a page begins, opaque to callers.
std::string PageTokenAfter(std::string_view last_entry);

// The entry of a token; empty for the first page. InvalidArgument names "page_token" where no list
// made it; what it says is still to be checked.
absl::StatusOr<std::string> ParsePageToken(std::string_view token);
absl::Status BadPageToken();

}  // namespace denoise
