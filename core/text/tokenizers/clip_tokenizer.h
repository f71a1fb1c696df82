// CLIP's tokenizer (Radford et al. 2021), as Stable Diffusion 1, 2 and XL use it: from text to the
// numbers that a text encoder reads.
//
// Gives the ids that CLIPTokenizer of the Python library (transformers 5) gives. docs/prompts.md
// describes the rules.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace denoise {

// The contents of the files in a tokenizer's folder. Either `tokenizer`, or `vocab` and `merges`,
// must be there; with both, `tokenizer` counts.
struct ClipTokenizerFiles {
  std::optional<std::string> tokenizer;           // tokenizer.json
  std::optional<std::string> vocab;               // vocab.json
  std::optional<std::string> merges;              // merges.txt
  std::optional<std::string> tokenizer_config;    // tokenizer_config.json
  std::optional<std::string> special_tokens_map;  // special_tokens_map.json
  std::optional<std::string> added_tokens;        // added_tokens.json
};

// A file of this folder: its name, and the text that it becomes.
struct ClipTokenizerFile {
  const char* name;
  std::optional<std::string> ClipTokenizerFiles::*text;
};
inline constexpr ClipTokenizerFile kClipTokenizerFiles[] = {
    {"tokenizer.json", &ClipTokenizerFiles::tokenizer},
    {"vocab.json", &ClipTokenizerFiles::vocab},
    {"merges.txt", &ClipTokenizerFiles::merges},
    {"tokenizer_config.json", &ClipTokenizerFiles::tokenizer_config},
    {"special_tokens_map.json", &ClipTokenizerFiles::special_tokens_map},
    {"added_tokens.json", &ClipTokenizerFiles::added_tokens},
};
// No file may be larger. CLIP's largest, a tokenizer.json, has 3 MB.
inline constexpr size_t kMaxTokenizerFileBytes = size_t{16} << 20;

// The longest text, in bytes, unless a caller says otherwise. Takes a few milliseconds.
inline constexpr size_t kMaxTextBytes = size_t{64} << 10;

// What a text encoder reads: start, tokens, end, and then padding.
struct PaddedIds {
  std::vector<int64_t> ids;  // max_length() of them
  bool truncated = false;    // some tokens did not fit
};

// Immutable and thread-safe.
class ClipTokenizer {
 public:
  // The files may hold anything. InvalidArgument has field violations, whose fields begin with the
  // name of the file.
  static absl::StatusOr<std::shared_ptr<const ClipTokenizer>> Parse(
      const ClipTokenizerFiles& files);
  ~ClipTokenizer();

  // The ids of `text`, however many there are, without start, end and padding. InvalidArgument:
  // longer than `max_bytes`, or not valid UTF-8; the message begins with a verb and says where ("is
  // not valid UTF-8 at byte 7").
  absl::StatusOr<std::vector<int64_t>> Encode(std::string_view text,
                                              size_t max_bytes = kMaxTextBytes) const;

  // Start, as many of `ids` as fit, end, padding.
  PaddedIds Pad(const std::vector<int64_t>& ids) const;

  // How the vocabulary writes `id`: "cat</w>". Each byte is one character, as byte_pairs.h says.
  // Empty: no such id.
  std::string_view Piece(int64_t id) const;

  int64_t start_id() const { return start_id_; }
  int64_t end_id() const { return end_id_; }
  int64_t pad_id() const { return pad_id_; }
  // Of a padded text, start and end included: 77.
  size_t max_length() const { return max_length_; }
  // Tokens between start and end: 75.
  size_t max_tokens() const { return max_length_ - 2; }
  // All ids are below it. A text encoder needs a vocabulary of this size.
  int64_t id_limit() const { return id_limit_; }

 private:
  struct Parts;

  ClipTokenizer();

  // Constant after Parse().
  std::unique_ptr<const Parts> parts_;
  int64_t start_id_ = 0;
  int64_t end_id_ = 0;
  int64_t pad_id_ = 0;
  int64_t id_limit_ = 0;
  size_t max_length_ = 0;
};

}  // namespace denoise
