// Recognises files that are not what their name says. Internal to core/io.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace denoise {

// What a file really is, where a model's file was expected, and what to do: "is a Git LFS pointer,
// not the file itself; ...". nullopt if it is none of the kinds that people mistake for one.
// `file` is a whole file, and hostile.
std::optional<std::string> ForeignKind(std::string_view file);

}  // namespace denoise
