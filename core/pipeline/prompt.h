// Prompts as a pipeline's text encoders read them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/text/tokenizers/clip_tokenizer.h"
#include "core/text/tokenizers/prompt.h"

namespace denoise {

// What a row is told as text. Immutable and shared.
struct Prompt {
  std::vector<TokenizedPrompt> texts;  // one for each text encoder, with equally many chunks
  int64_t clip_skip = 0;               // how many of the encoders' last layers are left out
  bool zeros = false;  // all states are zero: what SDXL is told where there is no negative prompt
};

// The same for equal prompts, and different for different ones.
std::string PromptKey(const Prompt& prompt);

struct PromptText {
  std::string_view text;
  int64_t clip_skip = 0;
  bool syntax = false;  // read weights, brackets and BREAK
};

// Reads prompts for one model. Immutable and thread-safe.
class PromptReader {
 public:
  // One tokenizer for each text encoder. `zeros_if_absent`: see Absent(). `max_clip_skip` is less
  // than the number of layers of every encoder.
  PromptReader(std::vector<std::shared_ptr<const ClipTokenizer>> tokenizers, bool zeros_if_absent,
               int64_t max_clip_skip);

  // The most chunks of 75 tokens that a prompt may have; what is beyond them is cut off.
  static constexpr size_t kMaxChunks = 8;

  // InvalidArgument as TokenizePrompt; the message begins with a verb.
  absl::StatusOr<std::shared_ptr<const Prompt>> Read(const PromptText& prompt) const;

  // The empty text.
  std::shared_ptr<const Prompt> Empty() const;

  // What the unconditional row is told where no negative prompt was given: zeros, or the empty
  // text.
  std::shared_ptr<const Prompt> Absent() const;

  // `first` with what the last text encoder reads taken from `second`. Requires two encoders, and
  // prompts that Read returned.
  std::shared_ptr<const Prompt> Combine(const Prompt& first, const Prompt& second) const;

  size_t num_texts() const { return tokenizers_.size(); }

  int64_t max_clip_skip() const { return max_clip_skip_; }

 private:
  // Until all texts have that many chunks.
  void Extend(size_t chunks, Prompt& prompt) const;

  const std::vector<std::shared_ptr<const ClipTokenizer>> tokenizers_;
  const bool zeros_if_absent_;
  const int64_t max_clip_skip_;
};

}  // namespace denoise
