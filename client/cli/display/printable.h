// Text from a server, for a terminal.
#pragma once

#include <string>
#include <string_view>

namespace denoise {

// `text` with its control characters written as escapes ("\x1b"), so that it can neither move the
// cursor nor pass for more lines than it is. UTF-8 stays as
// it is, but for the control characters U+0080 to U+009F; bytes that are not UTF-8 are escaped.
std::string Printable(std::string_view text);

}  // namespace denoise
