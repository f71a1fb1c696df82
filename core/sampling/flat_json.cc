#include "core/sampling/flat_json.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr size_t kMaxTextBytes = 4 << 20;
constexpr size_t kMaxKeys = 1000;
constexpr size_t kMaxListLength = 200000;

constexpr std::array<std::pair<std::string_view, double>, 3> kNonFinite = {{
    {"-Infinity", -std::numeric_limits<double>::infinity()},
    {"Infinity", std::numeric_limits<double>::infinity()},
    {"NaN", std::numeric_limits<double>::quiet_NaN()},
}};

// The bare word that `text` starts with, or nothing.
std::string_view LeadingNonFinite(std::string_view text) {
  for (const auto& [word, value] : kNonFinite) {
    if (text.starts_with(word)) return word;
  }
  return {};
}

// Puts quotes around the bare words of kNonFinite, which Python writes and JSON does not know. The
// handler below takes them back for numbers.
std::string QuoteNonFinite(std::string_view text) {
  std::string quoted;
  quoted.reserve(text.size());
  bool in_string = false;
  while (!text.empty()) {
    const std::string_view word = in_string ? std::string_view() : LeadingNonFinite(text);
    const bool escape = in_string && text.front() == '\\';
    const size_t length =
        !word.empty() ? word.size() : std::min<size_t>(escape ? 2 : 1, text.size());
    if (text.front() == '"') in_string = !in_string;
    if (!word.empty()) quoted += '"';
    quoted += text.substr(0, length);
    if (!word.empty()) quoted += '"';
    text.remove_prefix(length);
  }
  return quoted;
}

std::optional<double> NonFinite(std::string_view word) {
  for (const auto& [known, value] : kNonFinite) {
    if (known == word) return value;
  }
  return std::nullopt;
}

// Collects the fields as the parser meets them, and stops it at the first that does not belong.
class FlatJsonHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return Scalar(nullptr); }
  bool boolean(bool value) override { return Scalar(value); }
  bool number_integer(number_integer_t value) override {
    return Scalar(static_cast<double>(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return Scalar(static_cast<double>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return Scalar(value); }
  bool string(string_t& value) override {
    if (const std::optional<double> number = NonFinite(value)) return Scalar(*number);
    return Scalar(std::move(value));
  }
  bool binary(binary_t&) override { return Fail("holds binary data"); }

  bool start_object(std::size_t) override {
    if (in_object_) return Fail("has an object inside an object");
    in_object_ = true;
    return true;
  }
  bool key(string_t& key) override {
    key_ = std::move(key);
    if (fields_.size() >= kMaxKeys) return Fail("has too many keys");
    return !fields_.contains(key_) || Fail("has a key twice");
  }
  bool end_object() override { return true; }

  bool start_array(std::size_t) override {
    if (!in_object_) return Fail("is not an object");
    if (list_.has_value()) return Fail("has a list inside a list");
    list_.emplace();
    return true;
  }
  bool end_array() override {
    fields_.emplace(key_, *std::exchange(list_, std::nullopt));
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("is not JSON at byte ", position));
  }

  absl::StatusOr<FlatJson> Finish(bool parsed) && {
    if (parsed) return std::move(fields_);
    return absl::InvalidArgumentError(absl::StrCat("the text ", error_));
  }

 private:
  bool Scalar(JsonScalar value) {
    if (!in_object_) return Fail("is not an object");
    if (!list_.has_value()) return fields_.emplace(key_, std::move(value)).second;
    if (list_->size() >= kMaxListLength) return Fail("has too long a list");
    list_->push_back(std::move(value));
    return true;
  }

  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }

  FlatJson fields_;
  std::string key_;
  std::optional<JsonList> list_;  // the one being read
  bool in_object_ = false;
  std::string error_;
};

}  // namespace

absl::StatusOr<FlatJson> ParseFlatJson(std::string_view text) {
  if (text.size() > kMaxTextBytes) return absl::InvalidArgumentError("the text is too long");
  // The parser would take a zero byte for the end.
  if (text.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError("the text holds a zero byte");
  }
  const std::string quoted = QuoteNonFinite(text);
  FlatJsonHandler handler;
  const bool parsed = nlohmann::json::sax_parse(quoted, &handler);
  return std::move(handler).Finish(parsed);
}

}  // namespace denoise
