// Text that claims to be UTF-8.
#pragma once

#include <string_view>

namespace denoise {

// Whether `text` is well-formed (RFC 3629).
bool IsUtf8(std::string_view text);

}  // namespace denoise
