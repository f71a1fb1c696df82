// Pagination of lists, as described in AIP-158.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

// The number of entries for a requested `page_size`: 0 means the default, and larger values are cut
// to the maximum. InvalidArgument names "page_size".
absl::StatusOr<int> PageSize(int page_size);

// The maximum size of a page with more than one entry; fits gRPC's default limit on messages.
inline constexpr size_t kMaxPageBytes = 2 << 20;

// An opaque token for the page of `list` that begins after `last_entry`. `list` says what is listed
// in which order: the name of the collection, and its parent and filter, if any. It has no line
// break.
std::string PageTokenAfter(std::string_view list, std::string_view last_entry);

// The entry in a token; empty for the first page. InvalidArgument names "page_token" if it was not
// made for `list`. Callers must still check the entry.
absl::StatusOr<std::string> ParsePageToken(std::string_view list, std::string_view token);
absl::Status BadPageToken();

}  // namespace denoise
