#include "server/identity/base64url.h"

#include "absl/strings/escaping.h"

namespace denoise {

std::optional<std::string> DecodeBase64Url(std::string_view text) {
  const absl::string_view view(text.data(), text.size());
  std::string bytes;
  if (!absl::WebSafeBase64Unescape(view, &bytes)) return std::nullopt;
  if (absl::WebSafeBase64Escape(bytes) != view) return std::nullopt;
  return bytes;
}

}  // namespace denoise
