#include "core/base/quoted.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace denoise {
namespace {

constexpr size_t kMaxBytesShown = 100;

std::string Shown(std::string_view text, const char* quote) {
  const std::string_view shown = text.substr(0, kMaxBytesShown);
  return absl::StrCat(quote, absl::CHexEscape({shown.data(), shown.size()}), quote,
                      text.size() > kMaxBytesShown ? "..." : "");
}

}  // namespace

std::string Escaped(std::string_view text) { return Shown(text, ""); }

std::string Quoted(std::string_view text) { return Shown(text, "\""); }

}  // namespace denoise
