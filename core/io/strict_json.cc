#include "core/io/strict_json.h"

#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

// Builds the document event by event, and stops the parser (by returning false) at the first
// breach.
class DocumentBuilder : public nlohmann::json_sax<Json> {
 public:
  explicit DocumentBuilder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return Add(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override {
    return Add(value) != nullptr;
  }
  bool string(string_t& value) override { return Add(std::move(value)) != nullptr; }
  bool binary(binary_t&) override { return Fail("not valid JSON"); }  // no such thing in text

  bool start_object(size_t) override { return Open(Json::object()); }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_array() override { return Close(); }

  bool key(string_t& key) override {
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

  // Where the value came to lie; null when there are too many.
  Json* Add(Json value) {
    if (++values_ > limits_.max_values) {
      Fail(absl::StrCat("more than ", limits_.max_values, " values"));
      return nullptr;
    }
    if (open_.empty()) return &(root_ = std::move(value));
    Json& parent = *open_.back();
    if (parent.is_array()) return &parent.emplace_back(std::move(value));
    return &(parent[key_] = std::move(value));
  }

  bool Open(Json container) {
    if (open_.size() == limits_.max_depth) {
      return Fail(absl::StrCat("nested deeper than ", limits_.max_depth, " levels"));
    }
    Json* added = Add(std::move(container));
    if (added == nullptr) return false;
    open_.push_back(
        added);  // stays where it is until it is closed: only the innermost container grows
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  const JsonLimits limits_;
  Json root_;
  std::vector<Json*> open_;  // from the root inwards
  std::string key_;          // of the next value in an object
  size_t values_ = 0;
  std::string error_;
};

}  // namespace

absl::StatusOr<Json> ParseStrictJson(std::string_view text, const JsonLimits& limits) {
  // The parser takes a zero byte for the end of the text.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("not valid JSON at byte ", zero + 1));
  }
  DocumentBuilder builder(limits);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return std::move(builder).Take();
}

std::string Quoted(std::string_view name) {
  constexpr size_t kMaxShown = 100;
  const std::string_view shown = name.substr(0, kMaxShown);
  return absl::StrCat("\"", absl::CHexEscape({shown.data(), shown.size()}), "\"",
                      name.size() > kMaxShown ? "..." : "");
}

}  // namespace denoise
