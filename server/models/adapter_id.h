// The names of adapters.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace denoise {

// An adapter's id is the name of its file without ".safetensors", or that of its folder.
struct AdapterId {
  std::string model;  // the id of the model beside which it lies; empty: of the adapters' folder
  std::string adapter;

  auto operator<=>(const AdapterId&) const = default;
};

// At most 200 bytes of UTF-8, without "/" and control characters, that do not begin with ".": file
// names as people choose them.
bool IsValidAdapterId(std::string_view id);

// "adapters/pixel-art" or "models/sd15/adapters/pixel-art".
std::string AdapterName(const AdapterId& id);

// nullopt where the name is malformed.
std::optional<AdapterId> ParseAdapterName(std::string_view name);

inline constexpr char kAdapterNameRule[] =
    "must be \"adapters/\" and the name of an adapter, as Models.ListAdapters has it";

}  // namespace denoise
