#include "server/models/model.h"

#include "core/base/resource_id.h"

namespace denoise {
namespace {

constexpr std::string_view kCollection = "models/";

}  // namespace

std::string ModelName(std::string_view id) { return std::string(kCollection).append(id); }

std::optional<std::string> ParseModelName(std::string_view name) {
  if (!name.starts_with(kCollection)) return std::nullopt;
  const std::string_view id = name.substr(kCollection.size());
  if (!IsValidResourceId(id)) return std::nullopt;
  return std::string(id);
}

}  // namespace denoise
