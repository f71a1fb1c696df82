// The part of a resource's name that people choose: "emoji-32" of models/emoji-32.
#pragma once

#include <string>
#include <string_view>

namespace denoise {

// Whether `id` is [a-zA-Z0-9][a-zA-Z0-9._-]* of at most 128 characters. Such an id is never a path.
bool IsValidResourceId(std::string_view id);

// 16 random hexadecimal digits: an id that nobody chose. Thread-safe.
std::string NewRandomId();

}  // namespace denoise
