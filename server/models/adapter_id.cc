#include "server/models/adapter_id.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/utf8.h"
#include "server/models/model_id.h"

namespace denoise {
namespace {

constexpr size_t kMaxIdSize = 200;
constexpr std::string_view kAdapters = "adapters/";

bool IsForbidden(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f || c == '/';
}

}  // namespace

bool IsValidAdapterId(std::string_view id) {
  return !id.empty() && id.size() <= kMaxIdSize && id.front() != '.' && IsUtf8(id) &&
         std::none_of(id.begin(), id.end(), IsForbidden);
}

std::string AdapterName(const AdapterId& id) {
  const std::string model = id.model.empty() ? "" : ModelName(id.model) + "/";
  return absl::StrCat(model, "adapters/", id.adapter);
}

std::optional<AdapterId> ParseAdapterName(std::string_view name) {
  AdapterId id;
  if (const size_t at = name.rfind("/adapters/"); at != std::string_view::npos) {
    const std::optional<std::string> model = ParseModelName(name.substr(0, at));
    if (!model) return std::nullopt;
    id.model = *model;
    name.remove_prefix(at + 1);
  }
  if (!name.starts_with(kAdapters)) return std::nullopt;
  id.adapter = name.substr(kAdapters.size());
  if (!IsValidAdapterId(id.adapter)) return std::nullopt;
  return id;
}

}  // namespace denoise
