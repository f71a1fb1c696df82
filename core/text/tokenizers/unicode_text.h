// Unicode as CLIP's tokenizers read it. Internal to core/text/tokenizers.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace denoise {

// InvalidArgument: `text` is longer than `max_bytes`, or not valid UTF-8; the message gives the
// position of the byte.
absl::Status CheckText(std::string_view text, size_t max_bytes);

// The characters of `text`, which has passed CheckText.
std::u32string DecodeUtf8(std::string_view text);
std::string EncodeUtf8(std::u32string_view text);

// What ends a word.
enum class CharacterClass { kSpace, kLetter, kNumber, kOther };
CharacterClass Classify(char32_t character);
// Unicode's White_Space.
bool IsSpace(char32_t character);
// What a regular expression's \w matches (Unicode Technical Standard 18, annex C).
bool IsWordCharacter(char32_t character);

// Text before it is split into words: in normalisation form C, each run of white space as one
// space, and in lower case by the full mapping of each character alone. Linear in the length of
// `text`, but for runs of combining marks, which are sorted.
std::u32string NormalizeText(std::u32string_view text);

}  // namespace denoise
