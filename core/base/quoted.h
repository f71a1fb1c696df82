// Text from outside in a message of ours. It may hold anything: here control characters, quotes and
// bytes beyond ASCII become escapes ("\x1b"), and what is long is cut.
#pragma once

#include <string>
#include <string_view>

namespace denoise {

// Bare, where the message sets it apart by itself, as the name of a field does.
std::string Escaped(std::string_view text);

// In quotes, in the middle of a sentence.
std::string Quoted(std::string_view text);

}  // namespace denoise
