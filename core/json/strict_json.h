// JSON from outside, read without mercy: bounded size, depth and number of values, and no key
// twice, because readers disagree on which of the two counts.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

// The defaults are for configuration files.
struct JsonOptions {
  size_t max_bytes = size_t{4} << 20;
  size_t max_depth = 32;
  // A number in a list takes 16 bytes of memory, an empty object in an object 160 (its key and the
  // nodes of two maps); strings and keys take their text on top.
  size_t max_values = size_t{1} << 18;
  // Takes the bare words NaN, Infinity and -Infinity for numbers. They are not JSON, but Python's
  // json module writes them.
  bool non_finite_numbers = false;
};

// Valid UTF-8, one value and nothing after it but white space. InvalidArgument says where it goes
// wrong, which limit it breaks, or which key is there twice.
absl::StatusOr<nlohmann::json> ParseStrictJson(std::string_view text,
                                               const JsonOptions& options = {});

// The same, where the value must be an object.
absl::StatusOr<nlohmann::json> ParseStrictJsonObject(std::string_view text,
                                                     const JsonOptions& options = {});

}  // namespace denoise
