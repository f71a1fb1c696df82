#include "core/base/resource_id.h"

#include <algorithm>
#include <cstddef>

namespace denoise {
namespace {

constexpr size_t kMaxLength = 128;

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

bool IsValidResourceId(std::string_view id) {
  return !id.empty() && id.size() <= kMaxLength && IsAlphanumeric(id.front()) &&
         std::all_of(id.begin(), id.end(),
                     [](char c) { return IsAlphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

}  // namespace denoise
