// A JSON object of scalars and lists of scalars, read strictly: what a diffusers config file is.
// Hostile input is answered, not trusted: size, nesting and list length are bounded, and a key that
// stands twice is an error, because readers disagree on which of the two counts.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

// Numbers are doubles; the bare words NaN, Infinity and -Infinity, which Python's json module
// writes, are numbers too.
using JsonScalar = std::variant<std::nullptr_t, bool, double, std::string>;
using JsonList = std::vector<JsonScalar>;
using JsonField = std::variant<JsonScalar, JsonList>;
using FlatJson = std::map<std::string, JsonField>;

// InvalidArgument says what is not as it should be.
absl::StatusOr<FlatJson> ParseFlatJson(std::string_view text);

}  // namespace denoise
