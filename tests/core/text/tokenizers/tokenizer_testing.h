// Tokenizers of the folders in tests/data.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/read_file.h"
#include "core/json/strict_json.h"
#include "core/text/tokenizers/clip_tokenizer.h"
#include "tests/core/text/tokenizers/small_tokenizer.h"

namespace denoise {

inline constexpr char kClipFolder[] = "tests/data/text/clip";

inline std::string ReadTestFile(const std::string& path) {
  return ReadFile(path, kMaxTokenizerFileBytes).value();
}

// May hold Infinity and the like, as Python writes them.
inline nlohmann::json ReadTestJson(const std::string& path) {
  return ParseStrictJson(ReadTestFile(path), {.non_finite_numbers = true}).value();
}

inline ClipTokenizerFiles ReadTokenizerFolder(const std::string& folder) {
  ClipTokenizerFiles files;
  for (const ClipTokenizerFile& file : kClipTokenizerFiles) {
    const std::string path = folder + "/" + file.name;
    if (std::filesystem::exists(path)) files.*file.text = ReadTestFile(path);
  }
  return files;
}

inline std::shared_ptr<const ClipTokenizer> LoadTokenizer(const std::string& folder) {
  return ClipTokenizer::Parse(ReadTokenizerFolder(folder)).value();
}

// The pieces of `text`.
inline std::vector<std::string> Pieces(const ClipTokenizer& tokenizer, std::string_view text) {
  std::vector<std::string> pieces;
  const auto ids = tokenizer.Encode(text);
  EXPECT_TRUE(ids.ok()) << ids.status();
  if (!ids.ok()) return pieces;
  for (const int64_t id : *ids) pieces.emplace_back(tokenizer.Piece(id));
  return pieces;
}

}  // namespace denoise
