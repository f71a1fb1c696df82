// What c10d's exceptions say.
#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <string>

#include "absl/strings/str_replace.h"

namespace denoise {

// In one line, without a stack trace.
inline std::string OneLine(const std::exception& error) {
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  const std::string text = of_torch ? of_torch->what_without_backtrace() : error.what();
  const std::string first = text.substr(0, text.find("\nException raised from"));
  return absl::StrReplaceAll(first, {{"\n", " "}});
}

}  // namespace denoise
