// What the readers of a tokenizer's files share. Internal to core/text/tokenizers.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/json/strict_json.h"

namespace denoise {

inline constexpr char kTokenizer[] = "tokenizer.json";
inline constexpr char kVocab[] = "vocab.json";
inline constexpr char kMerges[] = "merges.txt";
inline constexpr char kConfig[] = "tokenizer_config.json";
inline constexpr char kSpecialMap[] = "special_tokens_map.json";
inline constexpr char kAdded[] = "added_tokens.json";

// Ids are below it.
inline constexpr int64_t kMaxTokenId = int64_t{1} << 20;

// "tokenizer.json: model", as fields of violations are named.
std::string In(const char* file, std::string_view key);

// The object in `text`. InvalidArgument names the file. The second: empty without a file.
absl::StatusOr<nlohmann::json> ParseFile(const char* file, const std::string& text,
                                         const JsonOptions& options = {});
absl::StatusOr<nlohmann::json> ParseOptional(const char* file,
                                             const std::optional<std::string>& text);

// nullopt unless `value` is an integer from 0 to kMaxTokenId - 1.
std::optional<int64_t> AsTokenId(const nlohmann::json& value);

}  // namespace denoise
