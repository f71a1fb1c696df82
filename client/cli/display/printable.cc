#include "client/cli/display/printable.h"

#include <cstddef>

#include "absl/strings/str_format.h"

namespace denoise {
namespace {

bool IsContinuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// How many bytes the character at the start of `text` takes; 0 where it is none that may be shown.
// Not a full check of UTF-8: it is enough that no single byte of it is taken for a control.
size_t ShownLength(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
  const size_t length = first >= 0xF8   ? 0
                        : first >= 0xF0 ? 4
                        : first >= 0xE0 ? 3
                        : first >= 0xC2 ? 2
                                        : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(static_cast<unsigned char>(text[i]))) return 0;
  }
  const bool is_control = first == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;
  return is_control ? 0 : length;
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    size_t length = ShownLength(text);
    if (length > 0) {
      shown += text.substr(0, length);
    } else {
      absl::StrAppendFormat(&shown, "\\x%02x", static_cast<unsigned char>(text[0]));
      length = 1;
    }
    text.remove_prefix(length);
  }
  return shown;
}

}  // namespace denoise
