#include "server/models/model.h"

#include <algorithm>

namespace denoise {
namespace {

constexpr std::string_view kCollection = "models/";
constexpr size_t kMaxIdLength = 128;

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

bool IsValidModelId(std::string_view id) {
  return !id.empty() && id.size() <= kMaxIdLength && IsAlphanumeric(id.front()) &&
         std::all_of(id.begin(), id.end(),
                     [](char c) { return IsAlphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

std::string ModelName(std::string_view id) { return std::string(kCollection).append(id); }

std::optional<std::string> ParseModelName(std::string_view name) {
  if (!name.starts_with(kCollection)) return std::nullopt;
  const std::string_view id = name.substr(kCollection.size());
  if (!IsValidModelId(id)) return std::nullopt;
  return std::string(id);
}

}  // namespace denoise
