#include "core/text/tokenizers/clip_tokenizer.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/text/tokenizers/added_tokens.h"
#include "core/text/tokenizers/byte_pairs.h"
#include "core/text/tokenizers/tokenizer_files.h"
#include "core/text/tokenizers/unicode_text.h"

namespace denoise {
namespace {

// English endings that are words of their own. Where several fit, the first counts.
constexpr std::u32string_view kContractions[] = {U"'s", U"'t",  U"'re", U"'ve",
                                                 U"'m", U"'ll", U"'d"};

// The library's expression names these two whatever the special tokens are. They are words of their
// own, although not single tokens, where they were written in capitals and the special tokens are
// in lower case.
constexpr std::u32string_view kTextMarks[] = {U"<|startoftext|>", U"<|endoftext|>"};
constexpr size_t kMarkBracket = 2;  // characters before and after the word in them

// The length of the run of characters of one class that `text` begins with.
size_t Run(std::u32string_view text, CharacterClass wanted) {
  size_t size = 0;
  while (size < text.size() && Classify(text[size]) == wanted) ++size;
  return size;
}

// Calls `word` with each word of normalised text. The library's regular expression:
//   <\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+
template <typename Function>
void ForEachWord(std::u32string_view text, const Function& word) {
  const auto take = [&](size_t size) {
    word(text.substr(0, size));
    text.remove_prefix(size);
  };
  while (!text.empty()) {
    const auto begins = [&](std::u32string_view with) { return text.starts_with(with); };
    if (const auto mark = std::find_if(std::begin(kTextMarks), std::end(kTextMarks), begins);
        mark != std::end(kTextMarks)) {
      // A second expression, GPT-2's, then takes them apart.
      take(kMarkBracket);
      take(mark->size() - 2 * kMarkBracket);
      take(kMarkBracket);
      continue;
    }
    if (const auto end = std::find_if(std::begin(kContractions), std::end(kContractions), begins);
        end != std::end(kContractions)) {
      take(end->size());
      continue;
    }
    switch (const CharacterClass first = Classify(text.front())) {
      case CharacterClass::kSpace:
        text.remove_prefix(1);
        break;
      case CharacterClass::kNumber:
        take(1);
        break;
      case CharacterClass::kLetter:
      case CharacterClass::kOther:
        take(Run(text, first));
        break;
    }
  }
}

// Calls `token` with the id of each match and `between` with the text between matches, in order.
template <typename Token, typename Between>
void SplitAt(const std::vector<TokenMatch>& matches, std::u32string_view text, const Token& token,
             const Between& between) {
  size_t taken = 0;
  for (const TokenMatch& match : matches) {
    if (match.begin > taken) between(text.substr(taken, match.begin - taken));
    token(match.id);
    taken = match.end;
  }
  if (taken < text.size()) between(text.substr(taken));
}

}  // namespace

struct ClipTokenizer::Parts {
  BytePairEncoder encoder;
  AddedTokenFinder in_raw_text;
  AddedTokenFinder in_normalized_text;
  std::unordered_map<int64_t, std::string> pieces;
};

ClipTokenizer::ClipTokenizer() = default;
ClipTokenizer::~ClipTokenizer() = default;

absl::StatusOr<std::shared_ptr<const ClipTokenizer>> ClipTokenizer::Parse(
    const ClipTokenizerFiles& files) {
  ASSIGN_OR_RETURN(TokenizerDescription description, ReadTokenizerFiles(files));
  const std::shared_ptr<ClipTokenizer> tokenizer(new ClipTokenizer);
  FieldViolations violations;
  const auto find = [&](const char* name, const std::string& token) -> int64_t {
    const auto found = description.vocabulary.find(token);
    if (found != description.vocabulary.end()) return found->second;
    violations.Add(name, absl::StrCat(Quoted(token), " is not in the vocabulary"));
    return 0;
  };
  tokenizer->start_id_ = find("bos_token", description.start_token);
  tokenizer->end_id_ = find("eos_token", description.end_token);
  tokenizer->pad_id_ = find("pad_token", description.pad_token);
  tokenizer->max_length_ = static_cast<size_t>(description.max_length);
  absl::StatusOr<BytePairEncoder> encoder =
      BytePairEncoder::Create(description.vocabulary, description.merges);
  violations.AddAll("", encoder.status());
  RETURN_IF_ERROR(violations.ToStatus());

  std::unordered_map<int64_t, std::string> pieces;
  pieces.reserve(description.vocabulary.size());
  for (const auto& [piece, id] : description.vocabulary) {
    pieces.emplace(id, piece);
    tokenizer->id_limit_ = std::max(tokenizer->id_limit_, id + 1);
  }
  tokenizer->parts_ = std::make_unique<const Parts>(
      Parts{*std::move(encoder), AddedTokenFinder(description.added_tokens, /*normalized=*/false),
            AddedTokenFinder(description.added_tokens, /*normalized=*/true), std::move(pieces)});
  return tokenizer;
}

absl::StatusOr<std::vector<int64_t>> ClipTokenizer::Encode(std::string_view text,
                                                           size_t max_bytes) const {
  RETURN_IF_ERROR(CheckText(text, max_bytes));
  std::vector<int64_t> ids;
  const auto add = [&](int64_t id) { ids.push_back(id); };
  const auto encode_word = [&](std::u32string_view word) {
    parts_->encoder.Encode(EncodeUtf8(word), ids);
  };
  const auto encode_normalized = [&](std::u32string_view part) { ForEachWord(part, encode_word); };
  const auto encode_raw = [&](std::u32string_view part) {
    const std::u32string normalized = NormalizeText(part);
    SplitAt(parts_->in_normalized_text.FindAll(normalized), normalized, add, encode_normalized);
  };
  const std::u32string characters = DecodeUtf8(text);
  SplitAt(parts_->in_raw_text.FindAll(characters), characters, add, encode_raw);
  return ids;
}

PaddedIds ClipTokenizer::Pad(const std::vector<int64_t>& ids) const {
  const size_t kept = std::min(ids.size(), max_tokens());
  PaddedIds padded{.truncated = kept < ids.size()};
  padded.ids.reserve(max_length_);
  padded.ids.push_back(start_id_);
  padded.ids.insert(padded.ids.end(), ids.begin(), ids.begin() + static_cast<ptrdiff_t>(kept));
  padded.ids.push_back(end_id_);
  padded.ids.resize(max_length_, pad_id_);
  return padded;
}

std::string_view ClipTokenizer::Piece(int64_t id) const {
  const auto found = parts_->pieces.find(id);
  return found == parts_->pieces.end() ? std::string_view() : std::string_view(found->second);
}

}  // namespace denoise
