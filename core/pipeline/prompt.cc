#include "core/pipeline/prompt.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

void AppendBytes(std::string& key, const void* data, size_t size) {
  key.append(static_cast<const char*>(data), size);
}

}  // namespace

std::string PromptKey(const Prompt& prompt) {
  std::string key(1, prompt.zeros ? '0' : 'p');
  AppendBytes(key, &prompt.clip_skip, sizeof(prompt.clip_skip));
  for (const TokenizedPrompt& text : prompt.texts) {
    const size_t chunks = text.chunks.size();
    AppendBytes(key, &chunks, sizeof(chunks));
    for (const PromptChunk& chunk : text.chunks) {
      AppendBytes(key, chunk.ids.data(), chunk.ids.size() * sizeof(chunk.ids[0]));
      AppendBytes(key, chunk.weights.data(), chunk.weights.size() * sizeof(chunk.weights[0]));
    }
  }
  return key;
}

PromptReader::PromptReader(std::vector<std::shared_ptr<const ClipTokenizer>> tokenizers,
                           bool zeros_if_absent, int64_t max_clip_skip)
    : tokenizers_(std::move(tokenizers)),
      zeros_if_absent_(zeros_if_absent),
      max_clip_skip_(max_clip_skip) {
  DENOISE_DCHECK(!tokenizers_.empty());
}

absl::StatusOr<std::shared_ptr<const Prompt>> PromptReader::Read(const PromptText& prompt) const {
  Prompt read{.clip_skip = prompt.clip_skip};
  size_t chunks = 1;
  for (const auto& tokenizer : tokenizers_) {
    ASSIGN_OR_RETURN(TokenizedPrompt text,
                     TokenizePrompt(*tokenizer, prompt.text,
                                    {.syntax = prompt.syntax, .max_chunks = kMaxChunks}));
    chunks = std::max(chunks, text.chunks.size());
    read.texts.push_back(std::move(text));
  }
  Extend(chunks, read);
  return std::make_shared<const Prompt>(std::move(read));
}

std::shared_ptr<const Prompt> PromptReader::Combine(const Prompt& first,
                                                    const Prompt& second) const {
  Prompt both = first;
  both.texts.back() = second.texts.back();
  Extend(std::max(first.texts.front().chunks.size(), second.texts.back().chunks.size()), both);
  return std::make_shared<const Prompt>(std::move(both));
}

void PromptReader::Extend(size_t chunks, Prompt& prompt) const {
  for (size_t i = 0; i < tokenizers_.size(); ++i) {
    ExtendToChunks(*tokenizers_[i], chunks, prompt.texts[i]);
  }
}

std::shared_ptr<const Prompt> PromptReader::Empty() const {
  absl::StatusOr<std::shared_ptr<const Prompt>> empty = Read({});
  DENOISE_DCHECK(empty.ok());
  return *std::move(empty);
}

std::shared_ptr<const Prompt> PromptReader::Absent() const {
  Prompt absent = *Empty();
  absent.zeros = zeros_if_absent_;
  return std::make_shared<const Prompt>(std::move(absent));
}

}  // namespace denoise
