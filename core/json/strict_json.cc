#include "core/json/strict_json.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr std::pair<std::string_view, double> kNonFinite[] = {
    {"-Infinity", -std::numeric_limits<double>::infinity()},
    {"Infinity", std::numeric_limits<double>::infinity()},
    {"NaN", std::numeric_limits<double>::quiet_NaN()},
};

// A string in the text that stands for a number.
struct NonFinite {
  size_t string;  // its number among the text's strings, including keys
  double number;
};

// The parser does not accept the bare words of kNonFinite. This replaces their first and last
// letter with quotes, so that the parser sees a string and errors keep their position. Words inside
// strings are left alone. Words and strings are told apart by their number, so no string can be
// mistaken for a word.
std::vector<NonFinite> QuoteNonFinite(std::string& text) {
  std::vector<NonFinite> found;
  size_t strings = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\') ++i;
      }
      ++strings;
      continue;
    }
    for (const auto& [word, number] : kNonFinite) {
      if (!std::string_view(text).substr(i).starts_with(word)) continue;
      found.push_back({strings++, number});
      const size_t last = i + word.size() - 1;
      text[i] = text[last] = '"';
      i = last;
      break;
    }
  }
  return found;
}

// Builds the document event by event, and stops the parser (by returning false) at the first
// violation.
class DocumentBuilder : public nlohmann::json_sax<Json> {
 public:
  // `non_finite` is in the order of the text.
  DocumentBuilder(const JsonOptions& options, std::vector<NonFinite> non_finite)
      : options_(options), non_finite_(std::move(non_finite)) {}

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return Add(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override {
    return Add(value) != nullptr;
  }
  bool string(string_t& value) override {
    if (const NonFinite* word = NextNonFinite()) return Add(word->number) != nullptr;
    return Add(std::move(value)) != nullptr;
  }
  bool binary(binary_t&) override { return Fail("not valid JSON"); }  // never in text

  bool start_object(size_t) override { return Open(Json::object()); }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_array() override { return Close(); }

  bool key(string_t& key) override {
    if (NextNonFinite() != nullptr) return Fail("not valid JSON: a key is not a string");
    if (open_.back()->contains(key))
      return Fail(absl::StrCat("the key ", Quoted(key), " is there twice"));
    key_ = std::move(key);
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("not valid JSON at byte ", position));
  }

  absl::StatusOr<Json> Take() && {
    if (!error_.empty()) return absl::InvalidArgumentError(error_);
    return std::move(root_);
  }

 private:
  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }

  // Called for every string in turn. Returns the word that it stands for, or null.
  const NonFinite* NextNonFinite() {
    const size_t string = strings_++;
    const bool found = words_ < non_finite_.size() && non_finite_[words_].string == string;
    return found ? &non_finite_[words_++] : nullptr;
  }

  // Returns the added value's place in the document; null if there are too many values.
  Json* Add(Json value) {
    if (++values_ > options_.max_values) {
      Fail(absl::StrCat("more than ", options_.max_values, " values"));
      return nullptr;
    }
    if (open_.empty()) return &(root_ = std::move(value));
    Json& parent = *open_.back();
    if (parent.is_array()) return &parent.emplace_back(std::move(value));
    return &(parent[key_] = std::move(value));
  }

  bool Open(Json container) {
    if (open_.size() == options_.max_depth) {
      return Fail(absl::StrCat("nested deeper than ", options_.max_depth, " levels"));
    }
    Json* added = Add(std::move(container));
    if (added == nullptr) return false;
    open_.push_back(added);  // stays valid: its parents do not grow until it is closed
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  const JsonOptions options_;
  const std::vector<NonFinite> non_finite_;
  Json root_;
  std::vector<Json*> open_;  // from the root inwards
  std::string key_;          // of the next value in an object
  size_t values_ = 0;        // so far, like the next two
  size_t strings_ = 0;
  size_t words_ = 0;  // of non_finite_
  std::string error_;
};

}  // namespace

absl::StatusOr<Json> ParseStrictJson(std::string_view text, const JsonOptions& options) {
  if (text.size() > options.max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("longer than ", options.max_bytes, " bytes"));
  }
  // The parser takes a zero byte for the end of the text.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("not valid JSON at byte ", zero + 1));
  }
  std::string quoted;
  std::vector<NonFinite> non_finite;
  if (options.non_finite_numbers) {
    quoted = text;
    non_finite = QuoteNonFinite(quoted);
    text = quoted;
  }
  DocumentBuilder builder(options, std::move(non_finite));
  Json::sax_parse(text.begin(), text.end(), &builder);
  return std::move(builder).Take();
}

absl::StatusOr<Json> ParseStrictJsonObject(std::string_view text, const JsonOptions& options) {
  ASSIGN_OR_RETURN(Json value, ParseStrictJson(text, options));
  if (!value.is_object()) return absl::InvalidArgumentError("not a JSON object");
  return value;
}

}  // namespace denoise
