// A tokenizer that is small enough to write down.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/text/tokenizers/byte_pairs.h"
#include "core/text/tokenizers/clip_tokenizer.h"

namespace denoise {

// The pieces that every vocabulary must have: bytes, bytes that end a word, start and end.
inline nlohmann::json ByteVocabulary() {
  nlohmann::json vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string character = ByteCharacter(static_cast<uint8_t>(byte));
    vocabulary[character] = byte;
    vocabulary[character + std::string(kEndOfWord)] = 256 + byte;
  }
  vocabulary["<|startoftext|>"] = 512;
  vocabulary["<|endoftext|>"] = 513;
  return vocabulary;
}

// With these pieces, from id 514 on, and merges.
inline ClipTokenizerFiles SmallTokenizer(const std::vector<std::string>& pieces = {},
                                         const std::string& merges = "") {
  nlohmann::json vocabulary = ByteVocabulary();
  for (size_t i = 0; i < pieces.size(); ++i) vocabulary[pieces[i]] = 514 + i;
  ClipTokenizerFiles files;
  files.vocab = vocabulary.dump();
  files.merges = "#version: 0.2\n" + merges;
  return files;
}

}  // namespace denoise
