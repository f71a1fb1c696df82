#include "core/base/resource_id.h"

#include <algorithm>
#include <cstddef>
#include <random>

#include "absl/strings/str_cat.h"

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

std::string NewRandomId() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return absl::StrCat(absl::Hex(generator(), absl::kZeroPad16));
}

}  // namespace denoise
