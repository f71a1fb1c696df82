// The first byte says what the rest is: a file of a tokenizer's folder, beside good ones of the
// other kinds, or a prompt.
#include <cmath>
#include <memory>
#include <string>

#include "core/text/tokenizers/prompt.h"
#include "tests/core/text/tokenizers/small_tokenizer.h"
#include "tests/fuzz/fuzz_target.h"

namespace denoise {
namespace {

void RequireGoodIds(const ClipTokenizer& tokenizer, const std::vector<int64_t>& ids) {
  for (const int64_t id : ids) {
    Require(id >= 0 && id < tokenizer.id_limit(), "ids are below the limit");
    Require(!tokenizer.Piece(id).empty(), "every id has a piece");
  }
}

void ReadFile(std::optional<std::string> ClipTokenizerFiles::*file, std::string_view text) {
  static const auto* const good = new ClipTokenizerFiles(SmallTokenizer({"ab"}, "a b\n"));
  ClipTokenizerFiles files = *good;
  files.*file = std::string(text);
  const auto tokenizer = ClipTokenizer::Parse(files);
  if (!tokenizer.ok()) {
    Require(absl::IsInvalidArgument(tokenizer.status()), "a bad file is INVALID_ARGUMENT");
    return;
  }
  const auto ids = (*tokenizer)->Encode("ab <|ENDOFTEXT|> <|endoftext|>! don't \u00c4 1999");
  Require(ids.ok(), "a tokenizer takes any text");
  RequireGoodIds(**tokenizer, *ids);
  Require((*tokenizer)->Pad(*ids).ids.size() == (*tokenizer)->max_length(), "padding fills");
}

void ReadPrompt(std::string_view text, bool syntax) {
  static const auto* const tokenizer = new std::shared_ptr<const ClipTokenizer>(
      ClipTokenizer::Parse(SmallTokenizer({"ab", "abc</w>"}, "a b\nab c</w>\n")).value());
  constexpr size_t kMaxChunks = 3;
  const auto prompt =
      TokenizePrompt(**tokenizer, text, {.syntax = syntax, .max_chunks = kMaxChunks});
  if (!prompt.ok()) {
    Require(absl::IsInvalidArgument(prompt.status()), "a bad prompt is INVALID_ARGUMENT");
    return;
  }
  Require(!prompt->chunks.empty() && prompt->chunks.size() <= kMaxChunks, "chunks are bounded");
  for (const PromptChunk& chunk : prompt->chunks) {
    Require(chunk.ids.size() == (*tokenizer)->max_length(), "a chunk is padded");
    Require(chunk.weights.size() == chunk.ids.size(), "every token has a weight");
    Require(chunk.weights.front() == 1 && chunk.weights.back() == 1, "the start has no weight");
    for (const float weight : chunk.weights) Require(std::abs(weight) <= 10, "weights are bounded");
    RequireGoodIds(**tokenizer, chunk.ids);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text = AsText(data, size).substr(1);
  switch (data[0]) {
    case 'v':
      ReadFile(&ClipTokenizerFiles::vocab, text);
      break;
    case 'm':
      ReadFile(&ClipTokenizerFiles::merges, text);
      break;
    case 't':
      ReadFile(&ClipTokenizerFiles::tokenizer, text);
      break;
    case 'c':
      ReadFile(&ClipTokenizerFiles::tokenizer_config, text);
      break;
    case 's':
      ReadFile(&ClipTokenizerFiles::special_tokens_map, text);
      break;
    case 'a':
      ReadFile(&ClipTokenizerFiles::added_tokens, text);
      break;
    default:
      ReadPrompt(text, /*syntax=*/false);
      ReadPrompt(text, /*syntax=*/true);
  }
  return 0;
}

}  // namespace denoise
