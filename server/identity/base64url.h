// Base64 as JSON Web Tokens write it (RFC 7515, section 2): URL-safe, without padding.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace denoise {

// nullopt for anything but the one text that encodes the bytes: no padding, no white space, no
// letters of the other alphabet, no stray bits at the end.
std::optional<std::string> DecodeBase64Url(std::string_view text);

}  // namespace denoise
