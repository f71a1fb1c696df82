// Reads a configuration, a JSON object, key by key into the fields of a struct, and remembers
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

// Both ends belong to it.
struct IntRange {
  int64_t min;
  int64_t max;
};

// What the words of a configuration mean.
template <typename Value>
using NamedValues = std::span<const std::pair<std::string_view, Value>>;

// Every Read leaves its target as it is, at its default, where the key is absent or its value is
// wrong; what was wrong comes out of Finish(). Whole numbers may be written as 1, 1.0 or 1e0, which
// JSON does not tell apart. Not thread-safe.
class ConfigReader {
 public:
  // What null stands for: nothing was chosen, as though the key were absent; or a value of its own,
  // which is wrong for every key but those that say what it means.
  enum class Null { kAbsent, kValue };

  // `object` must be a JSON object and outlive the reader.
  ConfigReader(const nlohmann::json& object, Null null) : object_(object), null_(null) {
    DENOISE_DCHECK(object.is_object());
  }

  void Read(const std::string& key, bool& target);
  // NaN and infinities, too, where the parser lets them through.
  void Read(const std::string& key, double& target);
  void Read(const std::string& key, int& target);
  void Read(const std::string& key, int64_t& target, IntRange range);
  // Null as a value means nullopt.
  void Read(const std::string& key, std::optional<int64_t>& target, IntRange range);
  void Read(const std::string& key, std::string& target);
  void Read(const std::string& key, std::vector<double>& target);
  void Read(const std::string& key, std::vector<int>& target);
  // 1 to `max_size` numbers.
  void Read(const std::string& key, std::vector<int64_t>& target, size_t max_size, IntRange range);

  // One of `names`. Null as a value means `null_means`, where that is given.
  template <typename Value>
  void ReadName(const std::string& key, NamedValues<std::type_identity_t<Value>> names,
                Value& target,
                std::optional<std::type_identity_t<Value>> null_means = std::nullopt);

  // A list of 1 to `max_size` of `names`. A name that is none of them is a violation of its element
  // ("key[2]"), and Value() takes its place: the length of the list is what the file says.
  template <typename Value>
  void ReadNames(const std::string& key, NamedValues<std::type_identity_t<Value>> names,
                 size_t max_size, std::vector<Value>& target);

  // The value of `key`; a null pointer where it is absent. Makes the key known.
  const nlohmann::json* Find(const std::string& key);

  // `field` and `description` go into messages as they are: the caller escapes what is not its own.
  void Violate(std::string_view field, std::string_view description);

  // What has been found wrong so far: InvalidArgument with a field violation each. Of many only the
  // first 20 are reported.
  absl::Status status() const { return violations_.ToStatus(); }

  // Refuses the keys that nobody asked for, too, and reports. The library's own notes, which begin
  // with an underscore, and the keys in `ignored` may be there. `class_name` is for the message.
  absl::Status Finish(std::string_view class_name, std::span<const std::string_view> ignored = {});

 private:
  template <typename Value>
  const Value* FindName(const std::string& field, const nlohmann::json& text,
                        NamedValues<Value> names);
  void RefuseName(const std::string& field, const nlohmann::json& text,
                  const std::vector<std::string_view>& names);
  // The list of 1 to `max_size` elements at `key`; null where it is absent or wrong.
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
