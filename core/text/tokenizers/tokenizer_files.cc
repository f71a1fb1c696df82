#include "core/text/tokenizers/tokenizer_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/json/config_reader.h"
#include "core/json/strict_json.h"
#include "core/text/tokenizers/special_tokens.h"
#include "core/text/tokenizers/tokenizer_json.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr JsonOptions kLargeJson = {.max_bytes = kMaxTokenizerFileBytes,
                                    .max_values = size_t{1} << 19};
constexpr size_t kMaxMerges = size_t{1} << 18;
constexpr int64_t kMaxLength = 4096;
constexpr int64_t kDefaultLength = 77;
// The library writes 1e30 where it knows no maximum.
constexpr double kNoMaximum = 1e9;

absl::StatusOr<Vocabulary> ReadVocabulary(const std::string& field, const Json& object) {
  if (!object.is_object() || object.empty()) {
    return InvalidField(field, "must be an object of pieces and their ids");
  }
  Vocabulary vocabulary;
  vocabulary.reserve(object.size());
  std::set<int64_t> ids;
  for (const auto& [piece, value] : object.items()) {
    const std::optional<int64_t> id = AsTokenId(value);
    if (!id) {
      return InvalidField(
          field, absl::StrCat("the id of ", Quoted(piece), " must be an integer between 0 and ",
                              kMaxTokenId - 1));
    }
    if (!ids.insert(*id).second) {
      return InvalidField(field, absl::StrCat("gives the id ", *id, " to ", Quoted(piece),
                                              " and to another piece"));
    }
    vocabulary.emplace(piece, *id);
  }
  return vocabulary;
}

absl::StatusOr<std::pair<std::string, std::string>> SplitMerge(const std::string& field,
                                                               std::string_view line) {
  const size_t space = line.find(' ');
  const bool two = space != std::string_view::npos && space > 0 && space + 1 < line.size() &&
                   line.find(' ', space + 1) == std::string_view::npos;
  if (!two) return InvalidField(field, "must be two pieces with a space between them");
  return std::pair(std::string(line.substr(0, space)), std::string(line.substr(space + 1)));
}

absl::StatusOr<MergeList> ReadMergesText(std::string_view text) {
  if (text.size() > kMaxTokenizerFileBytes) {
    return InvalidField(kMerges, absl::StrCat("longer than ", kMaxTokenizerFileBytes, " bytes"));
  }
  MergeList merges;
  for (size_t line_number = 1; !text.empty(); ++line_number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line_number == 1 && line.starts_with("#version")) continue;
    if (line.empty() && text.find_first_not_of("\r\n") == std::string_view::npos) break;
    if (merges.size() == kMaxMerges) {
      return InvalidField(kMerges, absl::StrCat("has more than ", kMaxMerges, " merges"));
    }
    ASSIGN_OR_RETURN(auto merge, SplitMerge(absl::StrCat(kMerges, ": line ", line_number), line));
    merges.push_back(std::move(merge));
  }
  return merges;
}

// Each is a string "a b" or a list ["a", "b"].
absl::StatusOr<MergeList> ReadMergesJson(const Json& list) {
  const std::string field = In(kTokenizer, "model.merges");
  if (!list.is_array() || list.size() > kMaxMerges) {
    return InvalidField(field, absl::StrCat("must be a list of at most ", kMaxMerges, " merges"));
  }
  MergeList merges;
  merges.reserve(list.size());
  for (const Json& entry : list) {
    const std::string place = absl::StrCat(field, "[", merges.size(), "]");
    if (entry.is_string()) {
      ASSIGN_OR_RETURN(auto merge, SplitMerge(place, entry.get_ref<const std::string&>()));
      merges.push_back(std::move(merge));
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() &&
               entry[1].is_string()) {
      merges.emplace_back(entry[0].get<std::string>(), entry[1].get<std::string>());
    } else {
      return InvalidField(place, "must be two pieces");
    }
  }
  return merges;
}

// Refuses models that this is no tokenizer for. The normaliser and the pre-tokenizer of the file
// are not read: the library's CLIPTokenizer makes its own.
absl::Status CheckModel(const Json& model) {
  if (!model.is_object()) return InvalidField(In(kTokenizer, "model"), "must be an object");
  ConfigReader reader(model, ConfigReader::Null::kAbsent);
  std::string type = "BPE", suffix(kEndOfWord), prefix;
  bool byte_fallback = false, ignore_merges = false;
  double dropout = 0;
  reader.Read("type", type);
  reader.Read("end_of_word_suffix", suffix);
  reader.Read("continuing_subword_prefix", prefix);
  reader.Read("byte_fallback", byte_fallback);
  reader.Read("ignore_merges", ignore_merges);
  reader.Read("dropout", dropout);
  if (type != "BPE") reader.Violate("type", "must be BPE, as CLIP's is");
  if (suffix != kEndOfWord) reader.Violate("end_of_word_suffix", "must be </w>, as CLIP's is");
  if (!prefix.empty()) reader.Violate("continuing_subword_prefix", "must be empty, as CLIP's is");
  if (byte_fallback) reader.Violate("byte_fallback", "must be false, as CLIP's is");
  if (ignore_merges) reader.Violate("ignore_merges", "must be false, as CLIP's is");
  if (dropout != 0) reader.Violate("dropout", "must be 0: it would make ids random");
  FieldViolations violations;
  violations.AddAll(In(kTokenizer, "model."), reader.status());
  return violations.ToStatus();
}

absl::StatusOr<int64_t> ReadMaxLength(const Json& config) {
  const auto value = config.find("model_max_length");
  if (value != config.end() && value->is_number() && value->get<double>() >= kNoMaximum) {
    return kDefaultLength;
  }
  ConfigReader reader(config, ConfigReader::Null::kAbsent);
  int64_t length = kDefaultLength;
  reader.Read("model_max_length", length, {3, kMaxLength});
  FieldViolations violations;
  violations.AddAll(In(kConfig, ""), reader.status());
  RETURN_IF_ERROR(violations.ToStatus());
  return length;
}

// The vocabulary and merges of whichever file has them. Moves the tokenizer.json, without these, to
// `tokenizer`.
absl::Status ReadModel(const ClipTokenizerFiles& files, TokenizerDescription& description,
                       Json& tokenizer) {
  if (files.tokenizer) {
    ASSIGN_OR_RETURN(tokenizer, ParseFile(kTokenizer, *files.tokenizer, kLargeJson));
    Json& model = tokenizer["model"];
    RETURN_IF_ERROR(CheckModel(model));
    ASSIGN_OR_RETURN(description.vocabulary,
                     ReadVocabulary(In(kTokenizer, "model.vocab"), model["vocab"]));
    ASSIGN_OR_RETURN(description.merges, ReadMergesJson(model["merges"]));
    return absl::OkStatus();
  }
  FieldViolations missing;
  const char* const kNeeded = "is missing, and there is no tokenizer.json either";
  if (!files.vocab) missing.Add(kVocab, kNeeded);
  if (!files.merges) missing.Add(kMerges, kNeeded);
  RETURN_IF_ERROR(missing.ToStatus());
  ASSIGN_OR_RETURN(const Json vocabulary, ParseFile(kVocab, *files.vocab, kLargeJson));
  ASSIGN_OR_RETURN(description.vocabulary, ReadVocabulary(kVocab, vocabulary));
  ASSIGN_OR_RETURN(description.merges, ReadMergesText(*files.merges));
  return absl::OkStatus();
}

absl::Status CheckTokenizerClass(const Json& config) {
  const auto name = config.find("tokenizer_class");
  if (name == config.end() || name->is_null()) return absl::OkStatus();
  if (*name == "CLIPTokenizer" || *name == "CLIPTokenizerFast") return absl::OkStatus();
  return InvalidField(In(kConfig, "tokenizer_class"), "must be CLIPTokenizer");
}

}  // namespace

absl::StatusOr<TokenizerDescription> ReadTokenizerFiles(const ClipTokenizerFiles& files) {
  TokenizerDescription description;
  Json tokenizer = Json::object();
  RETURN_IF_ERROR(ReadModel(files, description, tokenizer));
  ASSIGN_OR_RETURN(const Json config, ParseOptional(kConfig, files.tokenizer_config));
  RETURN_IF_ERROR(CheckTokenizerClass(config));
  ASSIGN_OR_RETURN(description.max_length, ReadMaxLength(config));
  SpecialTokens tokens;
  RETURN_IF_ERROR(tokens.Read(files, config, tokenizer));
  description.start_token = tokens.Name("bos_token");
  description.end_token = tokens.Name("eos_token");
  description.pad_token = tokens.Name("pad_token");
  ASSIGN_OR_RETURN(description.added_tokens, tokens.Resolve(description.vocabulary));
  return description;
}

}  // namespace denoise
