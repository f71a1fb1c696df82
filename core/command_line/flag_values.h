// What the texts of flags mean, where a flag is not a field of a message. Errors are the same as
// those of message_flags.h, and name the flag.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Error.hpp>
#include <CLI/Option.hpp>
#include <limits>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace denoise {

// Throws the CLI::ValidationError "FLAG: must be EXPECTED; is TEXT".
[[noreturn]] inline void RefuseValue(const std::string& flag, const std::string& expected,
                                     const std::string& text) {
  throw CLI::ValidationError(
      flag, absl::StrCat("must be ", expected, "; is ", text.empty() ? "empty" : text));
}

// The whole number in `text`. Malformed text and numbers out of range get one and the same error.
template <class Value>
Value ParseWholeNumber(const std::string& flag, const std::string& text,
                       Value min = std::numeric_limits<Value>::min(),
                       Value max = std::numeric_limits<Value>::max()) {
  Value value;
  if (absl::SimpleAtoi(text, &value) && value >= min && value <= max) return value;
  RefuseValue(flag, absl::StrCat("a whole number from ", min, " to ", max), text);
}

inline double ParseDouble(const std::string& flag, const std::string& text) {
  double value;
  if (!absl::SimpleAtod(text, &value)) RefuseValue(flag, "a number", text);
  return value;
}

inline bool ParseBool(const std::string& flag, const std::string& text) {
  bool value;
  if (!absl::SimpleAtob(text, &value)) RefuseValue(flag, "true or false", text);
  return value;
}

// Declares a flag that takes a whole number in [min, max]. `value` outlives `app`.
template <class Value>
CLI::Option* AddWholeNumber(CLI::App& app, const std::string& flag, Value& value, Value min,
                            Value max, const std::string& help) {
  return app
      .add_option_function<std::string>(
          flag,
          [flag, &value, min, max](const std::string& text) {
            value = ParseWholeNumber<Value>(flag, text, min, max);
          },
          help)
      ->type_name("N");
}

}  // namespace denoise
