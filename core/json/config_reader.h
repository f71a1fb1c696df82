// Reads a configuration, a JSON object, key by key into the fields of a struct, and collects
// everything that is wrong with it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "core/base/check.h"
#include "core/base/field_violations.h"

namespace denoise {

// Includes both ends.
struct IntRange {
  int64_t min;
  int64_t max;
};

// The meaning of a configuration's words.
template <typename Value>
using NamedValues = std::span<const std::pair<std::string_view, Value>>;

// Every Read leaves its target at its default if the key is absent or its value is wrong; Finish()
// reports what was wrong. Integers may be written as 1, 1.0 or 1e0, since JSON does not distinguish
// them. Not thread-safe.
class ConfigReader {
 public:
  // What null means: the same as an absent key, or a value of its own, which is wrong for every key
  // that does not define it.
  enum class Null { kAbsent, kValue };

  // Requires `object` to be a JSON object. It must outlive the reader.
  ConfigReader(const nlohmann::json& object, Null null) : object_(object), null_(null) {
    DENOISE_DCHECK(object.is_object());
  }

  void Read(const std::string& key, bool& target);
  // Accepts NaN and infinities if the parser did.
  void Read(const std::string& key, double& target);
  void Read(const std::string& key, int& target);
  void Read(const std::string& key, int64_t& target, IntRange range);
  // With Null::kValue, null means nullopt.
  void Read(const std::string& key, std::optional<int64_t>& target, IntRange range);
  // With Null::kValue, null means `null_means`.
  void Read(const std::string& key, bool& target, bool null_means);
  void Read(const std::string& key, double& target, double null_means);
  void Read(const std::string& key, std::string& target);
  void Read(const std::string& key, std::vector<double>& target);
  void Read(const std::string& key, std::vector<int>& target);
  // 1 to `max_size` numbers.
  void Read(const std::string& key, std::vector<int64_t>& target, size_t max_size, IntRange range);

  // One of `names`. With Null::kValue, null means `null_means` if that is given.
  template <typename Value>
  void ReadName(const std::string& key, NamedValues<std::type_identity_t<Value>> names,
                Value& target,
                std::optional<std::type_identity_t<Value>> null_means = std::nullopt);

  // A list of 1 to `max_size` of `names`. Any other name is a violation of its element ("key[2]")
  // and becomes Value(), so the list keeps the length it has in the file.
  template <typename Value>
  void ReadNames(const std::string& key, NamedValues<std::type_identity_t<Value>> names,
                 size_t max_size, std::vector<Value>& target);

  // The value of `key`, or a null pointer if it is absent. Marks the key as known.
  const nlohmann::json* Find(const std::string& key);

  // Whether `key` is present. Does not mark it as known.
  bool Has(const std::string& key) const;

  // Adds a violation. `field` and `description` appear in messages unchanged, so escape any text
  // from outside.
  void Violate(std::string_view field, std::string_view description);

  // The violations found so far: InvalidArgument with up to 20 field violations.
  absl::Status status() const { return violations_.ToStatus(); }

  // Also reports unknown keys, except those that begin with an underscore (the library's own
  // notes). `class_name` is for the message.
  absl::Status Finish(std::string_view class_name);

  // For files whose unknown keys are ignored: the keys that nobody has asked for, escaped and in
  // order, without those that begin with an underscore. Beyond 20 the last entry says how many more
  // there are.
  std::vector<std::string> UnknownKeys() const;

 private:
  template <typename Value>
  const Value* FindName(const std::string& field, const nlohmann::json& text,
                        NamedValues<Value> names);
  void RefuseName(const std::string& field, const nlohmann::json& text,
                  const std::vector<std::string_view>& names);
  // Present, read by nobody, and no note of the library.
  bool IsUnknown(const std::string& key) const;
  // The list of 1 to `max_size` elements at `key`; null if it is absent or wrong.
  const nlohmann::json* FindList(const std::string& key, size_t max_size, std::string_view of);

  const nlohmann::json& object_;
  const Null null_;
  std::set<std::string> known_;
  FieldViolations violations_;
};

template <typename Value>
void ConfigReader::ReadName(const std::string& key, NamedValues<std::type_identity_t<Value>> names,
                            Value& target, std::optional<std::type_identity_t<Value>> null_means) {
  const nlohmann::json* text = Find(key);
  if (text == nullptr) return;
  if (text->is_null() && null_means) {
    target = *null_means;
  } else if (const Value* value = FindName<Value>(key, *text, names)) {
    target = *value;
  }
}

template <typename Value>
void ConfigReader::ReadNames(const std::string& key, NamedValues<std::type_identity_t<Value>> names,
                             size_t max_size, std::vector<Value>& target) {
  const nlohmann::json* list = FindList(key, max_size, "names");
  if (list == nullptr) return;
  target.clear();
  for (const nlohmann::json& text : *list) {
    const std::string field = key + "[" + std::to_string(target.size()) + "]";
    const Value* value = FindName<Value>(field, text, names);
    target.push_back(value == nullptr ? Value() : *value);
  }
}

// The value that `text` names, or null after a violation.
template <typename Value>
const Value* ConfigReader::FindName(const std::string& field, const nlohmann::json& text,
                                    NamedValues<Value> names) {
  std::vector<std::string_view> known;
  for (const auto& [name, value] : names) {
    if (text.is_string() && text.get_ref<const std::string&>() == name) return &value;
    known.push_back(name);
  }
  RefuseName(field, text, known);
  return nullptr;
}

}  // namespace denoise
