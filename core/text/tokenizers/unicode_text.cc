#include "core/text/tokenizers/unicode_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr char32_t kCapitalIWithDot = 0x130;
constexpr char32_t kCombiningDotAbove = 0x307;

const utf8proc_uint8_t* Bytes(std::string_view text) {
  return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

// The length of the character that `text` begins with; negative if it begins with none.
utf8proc_ssize_t Next(std::string_view text, utf8proc_int32_t& character) {
  return utf8proc_iterate(Bytes(text), static_cast<utf8proc_ssize_t>(text.size()), &character);
}

utf8proc_propval_t CombiningClass(utf8proc_int32_t character) {
  return utf8proc_get_property(character)->combining_class;
}

// Canonical order (Unicode Standard, section 3.11, D109): each run of marks by combining class.
void OrderMarks(std::vector<utf8proc_int32_t>& text) {
  const auto is_starter = [](utf8proc_int32_t c) { return CombiningClass(c) == 0; };
  for (auto begin = text.begin(); begin != text.end();) {
    begin = std::find_if_not(begin, text.end(), is_starter);
    const auto end = std::find_if(begin, text.end(), is_starter);
    std::stable_sort(begin, end, [](utf8proc_int32_t a, utf8proc_int32_t b) {
      return CombiningClass(a) < CombiningClass(b);
    });
    begin = end;
  }
}

// Normalisation form C. Not utf8proc_map, because that sorts marks in quadratic time.
std::u32string Compose(std::u32string_view text) {
  constexpr int kMaxDecomposition = 32;  // of one character; four in Unicode 15
  constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  std::vector<utf8proc_int32_t> decomposed;
  decomposed.reserve(text.size());
  for (const char32_t c : text) {
    utf8proc_int32_t parts[kMaxDecomposition];
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts,
                                               kMaxDecomposition, kOptions, &boundary);
    if (count < 0 || count > kMaxDecomposition) {
      decomposed.push_back(static_cast<utf8proc_int32_t>(c));
    } else {
      decomposed.insert(decomposed.end(), parts, parts + count);
    }
  }
  OrderMarks(decomposed);
  const auto size = utf8proc_normalize_utf32(
      decomposed.data(), static_cast<utf8proc_ssize_t>(decomposed.size()), kOptions);
  return {decomposed.begin(), decomposed.begin() + std::max<utf8proc_ssize_t>(size, 0)};
}

bool IsAscii(std::u32string_view text) {
  return std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x80; });
}

}  // namespace

absl::Status CheckText(std::string_view text, size_t max_bytes) {
  if (text.size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", text.size(), " bytes, more than the maximum of ", max_bytes));
  }
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t character = 0;
    const utf8proc_ssize_t length = Next(text.substr(i), character);
    if (length <= 0) {
      return absl::InvalidArgumentError(absl::StrCat("is not valid UTF-8 at byte ", i));
    }
    i += static_cast<size_t>(length);
  }
  return absl::OkStatus();
}

std::u32string DecodeUtf8(std::string_view text) {
  std::u32string characters;
  characters.reserve(text.size());
  while (!text.empty()) {
    utf8proc_int32_t character = 0;
    const utf8proc_ssize_t length = Next(text, character);
    if (length <= 0) break;
    characters.push_back(static_cast<char32_t>(character));
    text.remove_prefix(static_cast<size_t>(length));
  }
  return characters;
}

std::string EncodeUtf8(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (const char32_t c : text) {
    utf8proc_uint8_t encoded[4];
    const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), encoded);
    bytes.append(reinterpret_cast<const char*>(encoded), static_cast<size_t>(length));
  }
  return bytes;
}

CharacterClass Classify(char32_t character) {
  if (IsSpace(character)) return CharacterClass::kSpace;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(character))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharacterClass::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharacterClass::kNumber;
    default:
      return CharacterClass::kOther;
  }
}

bool IsSpace(char32_t c) {
  return (c >= 0x9 && c <= 0xd) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

bool IsWordCharacter(char32_t character) {
  constexpr char32_t kNonJoiner = 0x200c, kJoiner = 0x200d;
  if (character == kNonJoiner || character == kJoiner) return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(character))) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return Classify(character) == CharacterClass::kLetter;
  }
}

std::u32string NormalizeText(std::u32string_view text) {
  const std::u32string composed = IsAscii(text) ? std::u32string(text) : Compose(text);
  std::u32string normalized;
  normalized.reserve(composed.size());
  for (const char32_t c : composed) {
    if (IsSpace(c)) {
      if (normalized.empty() || normalized.back() != U' ') normalized.push_back(U' ');
    } else if (c == kCapitalIWithDot) {  // the one character whose lower case is two
      normalized.append({U'i', kCombiningDotAbove});
    } else {
      normalized.push_back(
          static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  }
  return normalized;
}

}  // namespace denoise
