#include "core/base/paging.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"

namespace denoise {
namespace {

constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;
// What tokens of `list` begin with. Another list's is refused: its entries mean something else.
std::string TokenPrefix(std::string_view list) { return absl::StrCat(std::string(list), "\n"); }

}  // namespace

absl::StatusOr<int> PageSize(int page_size) {
  if (page_size < 0) {
    return InvalidField("page_size", absl::StrCat("must be at least 0, is ", page_size));
  }
  return page_size == 0 ? kDefaultPageSize : std::min(page_size, kMaxPageSize);
}

std::string PageTokenAfter(std::string_view list, std::string_view last_entry) {
  return absl::WebSafeBase64Escape(TokenPrefix(list).append(last_entry));
}

absl::StatusOr<std::string> ParsePageToken(std::string_view list, std::string_view token) {
  if (token.empty()) return std::string();
  const std::string prefix = TokenPrefix(list);
  std::string text;
  if (absl::WebSafeBase64Unescape({token.data(), token.size()}, &text) &&
      text.starts_with(prefix)) {
    return text.substr(prefix.size());
  }
  return BadPageToken();
}

absl::Status BadPageToken() {
  return InvalidField(
      "page_token",
      "is not one that this list returned; repeat the other fields of the call that "
      "returned it");
}

}  // namespace denoise
