// A strict parser for JSON from outside: size, depth and number of values are bounded, and
// duplicate keys are refused because readers disagree on which one counts.
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
  // nodes of two maps); strings and keys also take their text.
  size_t max_values = size_t{1} << 18;
  // Accepts the bare words NaN, Infinity and -Infinity as numbers. They are not JSON, but Python's
  // json module writes them.
  bool non_finite_numbers = false;
};

// Parses valid UTF-8 that holds one value, followed by nothing but white space. InvalidArgument
// says where the error is, which limit is exceeded, or which key is duplicated.
absl::StatusOr<nlohmann::json> ParseStrictJson(std::string_view text,
                                               const JsonOptions& options = {});

// The same, but InvalidArgument unless the value is an object.
absl::StatusOr<nlohmann::json> ParseStrictJsonObject(std::string_view text,
                                                     const JsonOptions& options = {});

}  // namespace denoise
