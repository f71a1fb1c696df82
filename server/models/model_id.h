// The names of models and their versions.
//
// A model's id is the name of its folder: "emoji-32", or "emoji-32@2" for the second version of
// emoji-32. It is a resource id (core/base/resource_id.h), followed by a version or not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace denoise {

// The parts of an id: what precedes the "@", and the version; 0 where it names none. Of a string
// that is no id, the whole string and 0. Views of `id`.
std::pair<std::string_view, int64_t> SplitModelId(std::string_view id);

// Versions are whole numbers from 1 to 999999999, without leading zeros.
bool IsValidModelId(std::string_view id);

// "models/emoji-32@2".
std::string ModelName(std::string_view id);

// The id in "models/{id}"; nullopt where the name is malformed.
std::optional<std::string> ParseModelName(std::string_view name);

// Says what a name of a model looks like; for errors.
inline constexpr char kModelIdRule[] =
    "a model's name is letters, digits and ._- that begin with a letter or digit, and may end with "
    "a version, such as @2";

// By name, and by number of version.
struct ModelIdLess {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const;
};

}  // namespace denoise
