#include "core/json/config_reader.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"

namespace denoise {
namespace {

// Keeps the message short for a file with a thousand wrong keys.
constexpr size_t kMaxViolations = 20;

constexpr IntRange kInt = {std::numeric_limits<int>::min(), std::numeric_limits<int>::max()};

std::optional<int64_t> AsInteger(const nlohmann::json& value) {
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
    return std::nullopt;
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number()) return std::nullopt;
  constexpr double kLargest = 9007199254740992;  // 2^53: up to here every integer is a double
  const double number = value.get<double>();
  if (!(std::abs(number) <= kLargest) || std::trunc(number) != number) return std::nullopt;
  return static_cast<int64_t>(number);
}

std::optional<int64_t> AsInteger(const nlohmann::json& value, IntRange range) {
  const std::optional<int64_t> number = AsInteger(value);
  return number && *number >= range.min && *number <= range.max ? number : std::nullopt;
}

std::string Between(IntRange range) {
  return absl::StrCat("between ", range.min, " and ", range.max);
}

template <typename Int>
std::optional<std::vector<Int>> AsIntegers(const nlohmann::json& list, IntRange range) {
  std::vector<Int> numbers;
  for (const nlohmann::json& element : list) {
    const std::optional<int64_t> number = AsInteger(element, range);
    if (!number) return std::nullopt;
    numbers.push_back(static_cast<Int>(*number));
  }
  return numbers;
}

bool IsNumber(const nlohmann::json& value) { return value.is_number(); }

}  // namespace

void ConfigReader::Violate(std::string_view field, std::string_view description) {
  if (violations_.violations().size() < kMaxViolations) violations_.Add(field, description);
}

bool ConfigReader::Has(const std::string& key) const {
  const auto found = object_.find(key);
  return found != object_.end() && !(found->is_null() && null_ == Null::kAbsent);
}

const nlohmann::json* ConfigReader::Find(const std::string& key) {
  known_.insert(key);
  return Has(key) ? &*object_.find(key) : nullptr;
}

void ConfigReader::Read(const std::string& key, bool& target) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return;
  if (!value->is_boolean()) return Violate(key, "must be true or false");
  target = value->get<bool>();
}

void ConfigReader::Read(const std::string& key, double& target) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return;
  if (!value->is_number()) return Violate(key, "must be a number");
  target = value->get<double>();
}

void ConfigReader::Read(const std::string& key, int& target) {
  int64_t number = target;
  Read(key, number, kInt);
  target = static_cast<int>(number);
}

void ConfigReader::Read(const std::string& key, int64_t& target, IntRange range) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return;
  const std::optional<int64_t> number = AsInteger(*value, range);
  if (!number) return Violate(key, absl::StrCat("must be an integer ", Between(range)));
  target = *number;
}

void ConfigReader::Read(const std::string& key, std::optional<int64_t>& target, IntRange range) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return;
  if (value->is_null()) {
    target.reset();
    return;
  }
  const std::optional<int64_t> number = AsInteger(*value, range);
  if (!number) return Violate(key, absl::StrCat("must be an integer ", Between(range)));
  target = number;
}

void ConfigReader::Read(const std::string& key, bool& target, bool null_means) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr || !value->is_null()) return Read(key, target);
  target = null_means;
}

void ConfigReader::Read(const std::string& key, double& target, double null_means) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr || !value->is_null()) return Read(key, target);
  target = null_means;
}

void ConfigReader::Read(const std::string& key, std::string& target) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return;
  if (!value->is_string()) return Violate(key, "must be a string");
  target = value->get<std::string>();
}

void ConfigReader::Read(const std::string& key, std::vector<double>& target) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return;
  if (!value->is_array() || !std::all_of(value->begin(), value->end(), IsNumber)) {
    return Violate(key, "must be a list of numbers");
  }
  target = value->get<std::vector<double>>();
}

void ConfigReader::Read(const std::string& key, std::vector<int>& target) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return;
  auto numbers = value->is_array() ? AsIntegers<int>(*value, kInt) : std::nullopt;
  if (!numbers) return Violate(key, "must be a list of integers");
  target = *std::move(numbers);
}

void ConfigReader::Read(const std::string& key, std::vector<int64_t>& target, size_t max_size,
                        IntRange range) {
  const std::string of = absl::StrCat("integers ", Between(range));
  const nlohmann::json* list = FindList(key, max_size, of);
  if (list == nullptr) return;
  auto numbers = AsIntegers<int64_t>(*list, range);
  if (!numbers) return Violate(key, "must be a list of " + of);
  target = *std::move(numbers);
}

const nlohmann::json* ConfigReader::FindList(const std::string& key, size_t max_size,
                                             std::string_view of) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return nullptr;
  if (value->is_array() && !value->empty() && value->size() <= max_size) return value;
  Violate(key, absl::StrCat("must be a list of 1 to ", max_size, " ", std::string(of)));
  return nullptr;
}

void ConfigReader::RefuseName(const std::string& field, const nlohmann::json& text,
                              const std::vector<std::string_view>& names) {
  std::string description = "must be one of";
  for (std::string_view name : names) {
    absl::StrAppend(&description, name == names.front() ? " " : ", ", std::string(name));
  }
  if (text.is_string()) {
    absl::StrAppend(&description, "; is ", Quoted(text.get_ref<const std::string&>()));
  }
  Violate(field, description);
}

absl::Status ConfigReader::Finish(std::string_view class_name) {
  for (const auto& [key, value] : object_.items()) {
    if (!IsUnknown(key)) continue;
    Violate(Escaped(key), absl::StrCat("is not a key of ", std::string(class_name)));
  }
  return status();
}

std::vector<std::string> ConfigReader::UnknownKeys() const {
  std::vector<std::string> keys;
  size_t more = 0;
  for (const auto& [key, value] : object_.items()) {
    if (!IsUnknown(key)) continue;
    if (keys.size() < kMaxViolations) {
      keys.push_back(Escaped(key));
    } else {
      ++more;
    }
  }
  if (more > 0) keys.push_back(absl::StrCat("and ", more, " more"));
  return keys;
}

bool ConfigReader::IsUnknown(const std::string& key) const {
  return Has(key) && !key.starts_with('_') && !known_.contains(key);
}

}  // namespace denoise
