#include "core/text/tokenizers/special_tokens.h"

#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/json/config_reader.h"
#include "core/text/tokenizers/tokenizer_json.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxAddedTokens = 1024;
constexpr size_t kMaxTokenBytes = 256;

// The tokens that have a name, in the library's order: where two of them have the same content, the
// flags of the later one count.
constexpr const char* kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};
// Lists of more, under the name of today and the older one.
constexpr const char* kLists[] = {"extra_special_tokens", "additional_special_tokens"};

// One token: its content alone, or an object with flags. `special`: what `normalized` is the
// opposite of, where the object says nothing about either.
absl::StatusOr<AddedToken> ReadToken(const std::string& field, const Json& value, bool special) {
  AddedToken token;
  if (value.is_string()) {
    token.content = value.get<std::string>();
  } else if (value.is_object()) {
    ConfigReader reader(value, ConfigReader::Null::kAbsent);
    reader.Read("content", token.content);
    reader.Read("special", special);
    token.normalized = !special;
    reader.Read("normalized", token.normalized);
    reader.Read("single_word", token.single_word);
    reader.Read("lstrip", token.lstrip);
    reader.Read("rstrip", token.rstrip);
    FieldViolations violations;
    violations.AddAll(field + ".", reader.status());
    RETURN_IF_ERROR(violations.ToStatus());
  } else {
    return InvalidField(field, "must be a string or an object with content");
  }
  if (token.content.empty() || token.content.size() > kMaxTokenBytes) {
    return InvalidField(field, absl::StrCat("must have 1 to ", kMaxTokenBytes, " bytes"));
  }
  return token;
}

}  // namespace

absl::Status SpecialTokens::Read(const ClipTokenizerFiles& files, const Json& config,
                                 const Json& tokenizer) {
  const auto decoder = config.find("added_tokens_decoder");
  if (decoder != config.end() && !decoder->is_null()) {
    RETURN_IF_ERROR(ReadNames(kConfig, config));
    return ReadDecoder(*decoder);
  }
  ASSIGN_OR_RETURN(const Json map, ParseOptional(kSpecialMap, files.special_tokens_map));
  ASSIGN_OR_RETURN(const Json added, ParseOptional(kAdded, files.added_tokens));
  RETURN_IF_ERROR(ReadNames(kConfig, config));
  RETURN_IF_ERROR(ReadNames(kSpecialMap, map));
  RETURN_IF_ERROR(ReadAddedTokens(added));
  return ReadTokenizerTokens(tokenizer);
}

absl::Status SpecialTokens::ReadNames(const char* file, const Json& object) {
  const bool special = file == std::string_view(kSpecialMap);
  for (const char* name : kNames) {
    const auto value = object.find(name);
    if (value == object.end() || value->is_null()) continue;
    ASSIGN_OR_RETURN(named_[name], ReadToken(In(file, name), *value, special));
  }
  for (const char* name : kLists) {
    const auto list = object.find(name);
    if (list == object.end() || !list->is_array()) continue;
    if (list->size() > kMaxAddedTokens) {
      return InvalidField(In(file, name),
                          absl::StrCat("must be a list of at most ", kMaxAddedTokens, " tokens"));
    }
    for (const Json& value : *list) {
      ASSIGN_OR_RETURN(listed_.emplace_back(), ReadToken(In(file, name), value, true));
    }
  }
  return absl::OkStatus();
}

absl::Status SpecialTokens::AddWithId(const std::string& field, AddedToken token) {
  if (with_id_.size() == kMaxAddedTokens) {
    return InvalidField(field, absl::StrCat("more than ", kMaxAddedTokens, " added tokens"));
  }
  const int64_t id = token.id;
  with_id_[id] = std::move(token);
  return absl::OkStatus();
}

absl::Status SpecialTokens::ReadDecoder(const Json& decoder) {
  const std::string field = In(kConfig, "added_tokens_decoder");
  if (!decoder.is_object()) return InvalidField(field, "must be an object of ids and tokens");
  for (const auto& [key, value] : decoder.items()) {
    const std::string place = absl::StrCat(field, ".", Escaped(key));
    int64_t id = 0;
    if (!absl::SimpleAtoi(key, &id) || id < 0 || id >= kMaxTokenId) {
      return InvalidField(place, absl::StrCat("must be an id between 0 and ", kMaxTokenId - 1));
    }
    ASSIGN_OR_RETURN(AddedToken token, ReadToken(place, value, /*special=*/false));
    token.id = id;
    RETURN_IF_ERROR(AddWithId(place, std::move(token)));
  }
  return absl::OkStatus();
}

absl::Status SpecialTokens::ReadAddedTokens(const Json& added) {
  for (const auto& [content, value] : added.items()) {
    const std::string place = In(kAdded, Escaped(content));
    bool special = false;
    for (const auto& [name, token] : named_) special = special || token.content == content;
    for (const AddedToken& token : listed_) special = special || token.content == content;
    ASSIGN_OR_RETURN(AddedToken token, ReadToken(place, Json(content), special));
    token.normalized = !special;
    const std::optional<int64_t> id = AsTokenId(value);
    if (!id) return InvalidField(place, "must have an id");
    token.id = *id;
    RETURN_IF_ERROR(AddWithId(place, std::move(token)));
  }
  return absl::OkStatus();
}

absl::Status SpecialTokens::ReadTokenizerTokens(const Json& tokenizer) {
  const auto list = tokenizer.find("added_tokens");
  if (list == tokenizer.end() || list->is_null()) return absl::OkStatus();
  const std::string field = In(kTokenizer, "added_tokens");
  if (!list->is_array()) return InvalidField(field, "must be a list");
  for (size_t i = 0; i < list->size(); ++i) {
    const Json& value = (*list)[i];
    const std::string place = absl::StrCat(field, "[", i, "]");
    const std::optional<int64_t> id =
        value.is_object() && value.contains("id") ? AsTokenId(value["id"]) : std::nullopt;
    if (!id) return InvalidField(place, "must have an id");
    ASSIGN_OR_RETURN(AddedToken token, ReadToken(place, value, /*special=*/false));
    token.id = *id;
    RETURN_IF_ERROR(AddWithId(place, std::move(token)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<AddedToken>> SpecialTokens::Resolve(Vocabulary& vocabulary) const {
  std::set<int64_t> used;
  for (const auto& [piece, id] : vocabulary) used.insert(id);
  std::map<std::string, AddedToken> by_content;
  for (const auto& [id, token] : with_id_) {
    const auto known = vocabulary.find(token.content);
    const bool fits = known != vocabulary.end() ? known->second == id : used.insert(id).second;
    if (!fits) {
      return InvalidField("added tokens", absl::StrCat("the id ", id, " of ", Quoted(token.content),
                                                       " contradicts the vocabulary"));
    }
    vocabulary.emplace(token.content, id);
    by_content[token.content] = token;
  }
  const auto add = [&](const std::string& field, AddedToken token) {
    const auto known = vocabulary.find(token.content);
    if (known == vocabulary.end()) {
      return InvalidField(field, absl::StrCat(Quoted(token.content), " is not in the vocabulary"));
    }
    token.id = known->second;
    // Tokens that have an id of their own have their own flags, too.
    if (!with_id_.contains(token.id)) by_content[token.content] = std::move(token);
    return absl::OkStatus();
  };
  for (const char* name : kNames) {
    const auto token = named_.find(name);
    if (token != named_.end()) RETURN_IF_ERROR(add(name, token->second));
  }
  for (const AddedToken& token : listed_) RETURN_IF_ERROR(add(kLists[0], token));
  std::vector<AddedToken> tokens;
  for (auto& [content, token] : by_content) tokens.push_back(std::move(token));
  return tokens;
}

}  // namespace denoise
