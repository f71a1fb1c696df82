#include "core/text/tokenizers/byte_tokenizer.h"

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "core/text/tokenizers/byte_pairs.h"

namespace denoise {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kStart[] = "<|startoftext|>";
constexpr char kEnd[] = "<|endoftext|>";
constexpr int64_t kStartId = 49406;
constexpr int64_t kEndId = 49407;

std::string VocabularyText() {
  // CLIP's order is that of the characters, and UTF-8 sorts like them.
  std::set<std::string> characters;
  for (int byte = 0; byte < 256; ++byte) {
    characters.insert(ByteCharacter(static_cast<uint8_t>(byte)));
  }
  Json vocabulary;
  int64_t id = 0;
  for (const std::string& character : characters) vocabulary[character] = id++;
  for (const std::string& character : characters) {
    vocabulary[character + std::string(kEndOfWord)] = id++;
  }
  vocabulary[kStart] = kStartId;
  vocabulary[kEnd] = kEndId;
  return vocabulary.dump();
}

std::string ConfigText() {
  return Json{{"bos_token", kStart},
              {"do_lower_case", true},
              {"eos_token", kEnd},
              {"errors", "replace"},
              {"model_max_length", 77},
              {"pad_token", kEnd},
              {"tokenizer_class", "CLIPTokenizer"},
              {"unk_token", kEnd}}
      .dump(2);
}

}  // namespace

ClipTokenizerFiles ByteTokenizerFiles() {
  return {.vocab = VocabularyText(), .merges = "#version: 0.2\n", .tokenizer_config = ConfigText()};
}

}  // namespace denoise
