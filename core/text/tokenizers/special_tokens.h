// Which tokens a tokenizer's files name or add, and with which flags. Internal to
// core/text/tokenizers.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/text/tokenizers/added_tokens.h"
#include "core/text/tokenizers/byte_pairs.h"
#include "core/text/tokenizers/clip_tokenizer.h"

namespace denoise {

// Errors are InvalidArgument with a field violation. Not thread-safe.
class SpecialTokens {
 public:
  // Reads what `files` say besides the config and the tokenizer.json, which are parsed already; the
  // latter is an empty object if there is none.
  absl::Status Read(const ClipTokenizerFiles& files, const nlohmann::json& config,
                    const nlohmann::json& tokenizer);

  // The content of a named token: start, end and padding always have one.
  const std::string& Name(const char* name) const { return named_.at(name).content; }

  // Gives every token its id, and adds those to the vocabulary that it lacks.
  absl::StatusOr<std::vector<AddedToken>> Resolve(Vocabulary& vocabulary) const;

 private:
  absl::Status ReadNames(const char* file, const nlohmann::json& object);
  absl::Status ReadDecoder(const nlohmann::json& decoder);
  absl::Status ReadAddedTokens(const nlohmann::json& added);
  absl::Status ReadTokenizerTokens(const nlohmann::json& tokenizer);
  absl::Status AddWithId(const std::string& field, AddedToken token);

  // By name, and what the library's CLIPTokenizer has where no file names them.
  std::map<std::string, AddedToken> named_ = {{"bos_token", {.content = "<|startoftext|>"}},
                                              {"eos_token", {.content = "<|endoftext|>"}},
                                              {"unk_token", {.content = "<|endoftext|>"}},
                                              {"pad_token", {.content = "<|endoftext|>"}}};
  std::vector<AddedToken> listed_;  // special, without a name
  std::map<int64_t, AddedToken> with_id_;
};

}  // namespace denoise
