#include "server/models/model_id.h"

#include <tuple>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "core/base/resource_id.h"

namespace denoise {
namespace {

constexpr std::string_view kCollection = "models/";
constexpr size_t kMaxVersionDigits = 9;

// 0 where `digits` is no version.
int64_t ParseVersion(std::string_view digits) {
  int64_t version = 0;
  if (digits.empty() || digits.size() > kMaxVersionDigits || digits.front() == '0') return 0;
  if (digits.find_first_not_of("0123456789") != std::string_view::npos) return 0;
  return absl::SimpleAtoi({digits.data(), digits.size()}, &version) ? version : 0;
}

}  // namespace

std::pair<std::string_view, int64_t> SplitModelId(std::string_view id) {
  const size_t at = id.find('@');
  if (at == std::string_view::npos) return {id, 0};
  const int64_t version = ParseVersion(id.substr(at + 1));
  if (version == 0) return {id, 0};
  return {id.substr(0, at), version};
}

bool IsValidModelId(std::string_view id) { return IsValidResourceId(SplitModelId(id).first); }

std::string ModelName(std::string_view id) { return std::string(kCollection).append(id); }

std::optional<std::string> ParseModelName(std::string_view name) {
  if (!name.starts_with(kCollection)) return std::nullopt;
  const std::string_view id = name.substr(kCollection.size());
  if (!IsValidModelId(id)) return std::nullopt;
  return std::string(id);
}

bool ModelIdLess::operator()(std::string_view a, std::string_view b) const {
  const auto [name_a, version_a] = SplitModelId(a);
  const auto [name_b, version_b] = SplitModelId(b);
  return std::tie(name_a, version_a) < std::tie(name_b, version_b);
}

}  // namespace denoise
