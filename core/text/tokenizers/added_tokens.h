// Tokens that are found in a text before it is split into words: the start and end of a text, and
// whatever a checkpoint adds. Internal to core/text/tokenizers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace denoise {

// One token, with the flags of the library's AddedToken.
struct AddedToken {
  std::string content;       // valid UTF-8, not empty
  bool normalized = false;   // found in the normalised text, hence also in upper case
  bool single_word = false;  // not found within a longer word
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  int64_t id = 0;
};

// Where a token stands in a text, with the white space that it takes.
struct TokenMatch {
  size_t begin;
  size_t end;
  int64_t id;
};

// Immutable and thread-safe.
class AddedTokenFinder {
 public:
  // Finds those of `tokens` that are `normalized`, or those that are not.
  AddedTokenFinder(const std::vector<AddedToken>& tokens, bool normalized);

  // All tokens in `text`, from left to right; where several begin at one character, the longest.
  std::vector<TokenMatch> FindAll(std::u32string_view text) const;

 private:
  struct Entry {
    std::u32string content;
    AddedToken token;
  };

  const Entry* Longest(std::u32string_view text) const;  // that `text` begins with

  std::map<char32_t, std::vector<Entry>> by_first_;  // the longest first
};

}  // namespace denoise
