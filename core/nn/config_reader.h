// Reads a JSON object key by key, checking types and ranges, and remembers everything that is wrong
// with it.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/field_violations.h"

namespace denoise {

struct IntRange {
  int64_t min;
  int64_t max;
};

// Every getter answers the fallback where the key is absent or wrong; what was wrong comes out of
// Finish(). Not thread-safe.
class ConfigReader {
 public:
  // `object` must be a JSON object and outlive the reader.
  explicit ConfigReader(const nlohmann::json& object) : object_(object) {}

  bool Bool(const std::string& key, bool fallback);
  int64_t Int(const std::string& key, int64_t fallback, IntRange range);
  // nullopt: the key is null, or absent with a fallback of nullopt.
  std::optional<int64_t> OptionalInt(const std::string& key, std::optional<int64_t> fallback,
                                     IntRange range);
  // A finite number.
  double Number(const std::string& key, double fallback);
  // nullopt: null, or absent with a fallback of nullopt.
  std::optional<std::string> OptionalString(const std::string& key,
                                            std::optional<std::string> fallback);
  std::vector<int64_t> Ints(const std::string& key, std::vector<int64_t> fallback, size_t max_size,
                            IntRange range);
  std::vector<std::string> Strings(const std::string& key, std::vector<std::string> fallback,
                                   size_t max_size);

  // Marks a key as known without reading it.
  void Accept(const std::string& key) { known_.insert(key); }
  void Violate(std::string_view field, std::string_view description);

  bool ok() const { return violations_.empty(); }
  // Refuses the keys that nobody asked for (less those that begin with an underscore) and reports.
  absl::Status Finish();

  // The value of `key`; null where it is absent or null.
  const nlohmann::json* Find(const std::string& key);
  bool InRange(const std::string& field, const nlohmann::json& value, IntRange range);

 private:
  const nlohmann::json& object_;
  std::set<std::string> known_;
  FieldViolations violations_;
};

}  // namespace denoise
