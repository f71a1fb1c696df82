#include "core/base/utf8.h"

#include <cstddef>
#include <cstdint>

namespace denoise {
namespace {

// The length of the character that starts with `first`; 0 if none does.
size_t CharacterBytes(uint8_t first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return 2;
  if (first >= 0xe0 && first <= 0xef) return 3;
  if (first >= 0xf0 && first <= 0xf4) return 4;
  return 0;
}

// The second byte reveals overlong forms, surrogates and code points beyond Unicode (RFC 3629,
// section 4).
bool IsSecondByte(uint8_t first, uint8_t second) {
  const uint8_t least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const uint8_t most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  return second >= least && second <= most;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<uint8_t>(text[i]);
    const size_t size = CharacterBytes(first);
    if (size == 0 || size > text.size() - i) return false;
    if (size > 1 && !IsSecondByte(first, static_cast<uint8_t>(text[i + 1]))) return false;
    for (size_t k = 2; k < size; ++k) {
      if ((static_cast<uint8_t>(text[i + k]) & 0xc0) != 0x80) return false;
    }
    i += size;
  }
  return true;
}

}  // namespace denoise
