#include "core/text/tokenizers/prompt.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/tokenizers/prompt_syntax.h"
#include "core/text/tokenizers/unicode_text.h"

namespace denoise {
namespace {

// Fills chunk after chunk.
class ChunkBuilder {
 public:
  ChunkBuilder(const ClipTokenizer& tokenizer, size_t max_chunks)
      : tokenizer_(tokenizer), max_chunks_(std::max<size_t>(max_chunks, 1)) {}

  void Add(const std::vector<int64_t>& ids, float weight) {
    for (const int64_t id : ids) {
      if (ids_.size() == tokenizer_.max_tokens()) Finish();
      ++prompt_.num_tokens;
      ids_.push_back(id);
      weights_.push_back(weight);
    }
  }

  void Break() {
    if (!ids_.empty()) Finish();
  }

  TokenizedPrompt Take() && {
    if (!ids_.empty() || prompt_.chunks.empty()) Finish();
    return std::move(prompt_);
  }

 private:
  void Finish() {
    if (prompt_.chunks.size() < max_chunks_) {
      PromptChunk chunk{.ids = tokenizer_.Pad(ids_).ids};
      chunk.weights.assign(chunk.ids.size(), 1);
      std::copy(weights_.begin(), weights_.end(), chunk.weights.begin() + 1);
      prompt_.chunks.push_back(std::move(chunk));
    } else {
      prompt_.truncated = true;
    }
    ids_.clear();
    weights_.clear();
  }

  const ClipTokenizer& tokenizer_;
  const size_t max_chunks_;
  std::vector<int64_t> ids_;  // of the chunk that is being filled
  std::vector<float> weights_;
  TokenizedPrompt prompt_;
};

}  // namespace

absl::StatusOr<TokenizedPrompt> TokenizePrompt(const ClipTokenizer& tokenizer,
                                               std::string_view prompt,
                                               const PromptOptions& options) {
  // Before the prompt is taken apart, so that errors give positions in the whole of it.
  RETURN_IF_ERROR(CheckText(prompt, options.max_bytes));
  if (const size_t nul = prompt.find('\0'); nul != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("holds a NUL character at byte ", nul));
  }
  std::vector<PromptFragment> fragments = {{.text = std::string(prompt)}};
  if (options.syntax) {
    ASSIGN_OR_RETURN(fragments, ParsePromptSyntax(prompt));
  }
  ChunkBuilder chunks(tokenizer, options.max_chunks);
  for (const PromptFragment& fragment : fragments) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                     tokenizer.Encode(fragment.text, options.max_bytes));
    if (fragment.after_break) chunks.Break();
    chunks.Add(ids, static_cast<float>(fragment.weight));
  }
  return std::move(chunks).Take();
}

void ExtendToChunks(const ClipTokenizer& tokenizer, size_t count, TokenizedPrompt& prompt) {
  while (prompt.chunks.size() < count) {
    PromptChunk chunk{.ids = tokenizer.Pad({}).ids};
    chunk.weights.assign(chunk.ids.size(), 1);
    prompt.chunks.push_back(std::move(chunk));
  }
}

}  // namespace denoise
