// From a prompt to what text encoders read: chunks of ids, with a weight for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/text/tokenizers/clip_tokenizer.h"

namespace denoise {

struct PromptOptions {
  // Read brackets, weights and BREAK (prompt_syntax.h). Otherwise the prompt is literal text.
  bool syntax = false;
  // A prompt that has more tokens than fit one chunk continues in the next. With 1, a literal
  // prompt gives what the Python library's pipelines give.
  size_t max_chunks = 1;
  size_t max_bytes = kMaxTextBytes;
};

// A text of its own to the encoder: start, tokens, end, padding.
struct PromptChunk {
  std::vector<int64_t> ids;
  std::vector<float> weights;  // of each id; 1 for start, end and padding
};

struct TokenizedPrompt {
  std::vector<PromptChunk> chunks;  // at least one
  int64_t num_tokens = 0;           // of the whole prompt, without start, end and padding
  bool truncated = false;           // some did not fit into max_chunks
};

// InvalidArgument as ClipTokenizer::Encode and ParsePromptSyntax have it, or `prompt` holds a NUL
// character, which nobody types.
absl::StatusOr<TokenizedPrompt> TokenizePrompt(const ClipTokenizer& tokenizer,
                                               std::string_view prompt,
                                               const PromptOptions& options = {});

// Appends chunks of the empty text until there are `count`, for a model with two encoders whose
// tokenizers disagree, or for a negative prompt that is shorter than the prompt.
void ExtendToChunks(const ClipTokenizer& tokenizer, size_t count, TokenizedPrompt& prompt);

}  // namespace denoise
