// Reads the files of a tokenizer's folder. Internal to core/text/tokenizers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/text/tokenizers/added_tokens.h"
#include "core/text/tokenizers/byte_pairs.h"
#include "core/text/tokenizers/clip_tokenizer.h"

namespace denoise {

// What the files say, checked in itself.
struct TokenizerDescription {
  Vocabulary vocabulary;  // with the added tokens
  MergeList merges;
  std::vector<AddedToken> added_tokens;
  std::string start_token;
  std::string end_token;
  std::string pad_token;
  int64_t max_length = 0;
};

// InvalidArgument has field violations, whose fields begin with the name of the file ("vocab.json",
// "tokenizer_config.json: pad_token").
absl::StatusOr<TokenizerDescription> ReadTokenizerFiles(const ClipTokenizerFiles& files);

}  // namespace denoise
