// The dtypes of the format. Internal to core/io.
#pragma once

#include <c10/core/ScalarType.h>

#include <bit>
#include <cstddef>
#include <optional>
#include <string_view>

namespace denoise {

static_assert(std::endian::native == std::endian::little,
              "the bytes of tensors are used as they are in the file");

struct SafetensorsDtype {
  std::string_view name;
  size_t size;
  std::optional<at::ScalarType> weights;  // the type to read it as; nullopt if it holds no weights
  std::optional<at::ScalarType> integer = std::nullopt;  // the same of integers
};

// The dtypes of whole bytes.
inline constexpr SafetensorsDtype kSafetensorsDtypes[] = {
    {"F64", 8, at::kDouble},
    {"F32", 4, at::kFloat},
    {"F16", 2, at::kHalf},
    {"BF16", 2, at::kBFloat16},
    {"C64", 8, std::nullopt},
    {"I64", 8, std::nullopt, at::kLong},
    {"U64", 8, std::nullopt},
    {"I32", 4, std::nullopt, at::kInt},
    {"U32", 4, std::nullopt},
    {"I16", 2, std::nullopt, at::kShort},
    {"U16", 2, std::nullopt},
    {"I8", 1, std::nullopt, at::kChar},
    {"U8", 1, std::nullopt, at::kByte},
    {"BOOL", 1, std::nullopt},
    {"F8_E4M3", 1, std::nullopt},
    {"F8_E5M2", 1, std::nullopt},
    {"F8_E8M0", 1, std::nullopt},
};

// nullptr where there is none.
inline const SafetensorsDtype* FindDtype(std::string_view name) {
  for (const SafetensorsDtype& dtype : kSafetensorsDtypes) {
    if (dtype.name == name) return &dtype;
  }
  return nullptr;
}

inline const SafetensorsDtype* FindDtype(at::ScalarType type) {
  for (const SafetensorsDtype& dtype : kSafetensorsDtypes) {
    if (dtype.weights == type) return &dtype;
  }
  return nullptr;
}

}  // namespace denoise
