#include "core/text/tokenizers/tokenizer_json.h"

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"

namespace denoise {

using Json = nlohmann::json;

std::string In(const char* file, std::string_view key) {
  return absl::StrCat(file, ": ", std::string(key));
}

absl::StatusOr<Json> ParseFile(const char* file, const std::string& text,
                               const JsonOptions& options) {
  absl::StatusOr<Json> object = ParseStrictJsonObject(text, options);
  if (!object.ok()) return InvalidField(file, std::string(object.status().message()));
  return object;
}

absl::StatusOr<Json> ParseOptional(const char* file, const std::optional<std::string>& text) {
  if (!text) return Json::object();
  return ParseFile(file, *text);
}

std::optional<int64_t> AsTokenId(const Json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() >= uint64_t{kMaxTokenId})
    return std::nullopt;
  const auto id = value.get<int64_t>();
  return id >= 0 && id < kMaxTokenId ? std::optional(id) : std::nullopt;
}

}  // namespace denoise
