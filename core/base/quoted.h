// Makes text from outside safe to show in our messages: control characters, quotes and bytes beyond
// ASCII are escaped ("\x1b"), and long text is truncated.
#pragma once

#include <string>
#include <string_view>

namespace denoise {

// Without quotes, for text that stands apart anyway, such as a field's name.
std::string Escaped(std::string_view text);

// In quotes, for the middle of a sentence.
std::string Quoted(std::string_view text);

}  // namespace denoise
