#include "core/text/tokenizers/added_tokens.h"

#include <algorithm>
#include <utility>

#include "core/text/tokenizers/unicode_text.h"

namespace denoise {
namespace {

bool StandsAlone(std::u32string_view text, size_t begin, size_t end) {
  const bool after_word = begin > 0 && IsWordCharacter(text[begin - 1]);
  const bool before_word = end < text.size() && IsWordCharacter(text[end]);
  return !after_word && !before_word;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(const std::vector<AddedToken>& tokens, bool normalized) {
  for (const AddedToken& token : tokens) {
    if (token.normalized != normalized) continue;
    std::u32string content = DecodeUtf8(token.content);
    if (normalized) content = NormalizeText(content);
    if (!content.empty()) by_first_[content.front()].push_back({content, token});
  }
  for (auto& [first, entries] : by_first_) {
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return a.content.size() > b.content.size();
    });
  }
}

const AddedTokenFinder::Entry* AddedTokenFinder::Longest(std::u32string_view text) const {
  const auto entries = by_first_.find(text.front());
  if (entries == by_first_.end()) return nullptr;
  for (const Entry& entry : entries->second) {
    if (text.starts_with(entry.content)) return &entry;
  }
  return nullptr;
}

std::vector<TokenMatch> AddedTokenFinder::FindAll(std::u32string_view text) const {
  std::vector<TokenMatch> matches;
  if (by_first_.empty()) return matches;
  size_t taken = 0;  // the end of the last match
  for (size_t i = 0; i < text.size();) {
    const Entry* const entry = Longest(text.substr(i));
    if (entry == nullptr) {
      ++i;
      continue;
    }
    size_t begin = i, end = i + entry->content.size();
    i = end;
    if (begin < taken) continue;  // its beginning was taken as white space
    if (entry->token.single_word && !StandsAlone(text, begin, end)) continue;
    while (entry->token.lstrip && begin > taken && IsSpace(text[begin - 1])) --begin;
    while (entry->token.rstrip && end < text.size() && IsSpace(text[end])) ++end;
    matches.push_back({begin, end, entry->token.id});
    taken = end;
  }
  return matches;
}

}  // namespace denoise
