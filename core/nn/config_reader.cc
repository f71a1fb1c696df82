#include "core/nn/config_reader.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

// A file of a thousand wrong keys deserves no message of a thousand lines.
constexpr size_t kMaxViolations = 20;
constexpr size_t kMaxNameLength = 64;

std::string Shortened(std::string_view name) {
  std::string text(name.substr(0, kMaxNameLength));
  if (name.size() > kMaxNameLength) text += "...";
  return text;
}

std::string Indexed(const std::string& key, size_t index) {
  return absl::StrCat(key, "[", index, "]");
}

}  // namespace

void ConfigReader::Violate(std::string_view field, std::string_view description) {
  if (violations_.violations().size() < kMaxViolations) {
    violations_.Add(Shortened(field), description);
  }
}

const nlohmann::json* ConfigReader::Find(const std::string& key) {
  known_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() ? nullptr : &*found;
}

bool ConfigReader::InRange(const std::string& field, const nlohmann::json& value, IntRange range) {
  const bool representable =
      value.is_number_integer() &&
      !(value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX));
  if (representable && value.get<int64_t>() >= range.min && value.get<int64_t>() <= range.max) {
    return true;
  }
  Violate(field, absl::StrCat("must be an integer between ", range.min, " and ", range.max));
  return false;
}

bool ConfigReader::Bool(const std::string& key, bool fallback) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  Violate(key, "must be true or false");
  return fallback;
}

int64_t ConfigReader::Int(const std::string& key, int64_t fallback, IntRange range) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr || !InRange(key, *value, range)) return fallback;
  return value->get<int64_t>();
}

std::optional<int64_t> ConfigReader::OptionalInt(const std::string& key,
                                                 std::optional<int64_t> fallback, IntRange range) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_null()) return std::nullopt;
  if (!InRange(key, *value, range)) return fallback;
  return value->get<int64_t>();
}

double ConfigReader::Number(const std::string& key, double fallback) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_number() && std::isfinite(value->get<double>())) return value->get<double>();
  Violate(key, "must be a finite number");
  return fallback;
}

std::optional<std::string> ConfigReader::OptionalString(const std::string& key,
                                                        std::optional<std::string> fallback) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_null()) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  Violate(key, "must be a string or null");
  return fallback;
}

std::vector<int64_t> ConfigReader::Ints(const std::string& key, std::vector<int64_t> fallback,
                                        size_t max_size, IntRange range) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_array() || value->empty() || value->size() > max_size) {
    Violate(key, absl::StrCat("must be a list of 1 to ", max_size, " integers"));
    return fallback;
  }
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < value->size(); ++i) {
    if (!InRange(Indexed(key, i), (*value)[i], range)) return fallback;
    numbers.push_back((*value)[i].get<int64_t>());
  }
  return numbers;
}

std::vector<std::string> ConfigReader::Strings(const std::string& key,
                                               std::vector<std::string> fallback, size_t max_size) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_array() || value->empty() || value->size() > max_size) {
    Violate(key, absl::StrCat("must be a list of 1 to ", max_size, " strings"));
    return fallback;
  }
  std::vector<std::string> strings;
  for (size_t i = 0; i < value->size(); ++i) {
    if (!(*value)[i].is_string()) {
      Violate(Indexed(key, i), "must be a string");
      return fallback;
    }
    strings.push_back((*value)[i].get<std::string>());
  }
  return strings;
}

absl::Status ConfigReader::Finish() {
  for (const auto& [key, value] : object_.items()) {
    const bool note = !key.empty() && key.front() == '_';
    if (!note && !known_.contains(key)) Violate(key, "is not a known key");
  }
  return violations_.ToStatus();
}

}  // namespace denoise
