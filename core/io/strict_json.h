// JSON from outside, read without mercy: no duplicate keys, bounded depth and size. Internal to
// core/io.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

struct JsonLimits {
  size_t max_depth = 32;
  size_t max_values = size_t{1} << 22;  // a value takes 16 bytes of memory and may take two of text
};

// Valid UTF-8, one value and nothing after it but white space. InvalidArgument says where it goes
// wrong, or which key is there twice.
absl::StatusOr<nlohmann::json> ParseStrictJson(std::string_view text,
                                               const JsonLimits& limits = {});

// A name from outside as it may appear in a message: in quotes, escaped, and cut when long.
std::string Quoted(std::string_view name);

}  // namespace denoise
