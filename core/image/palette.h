// A palette of at most 256 colors for some pictures. Internal to core/image.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/image/image.h"

namespace denoise {

using Rgb = std::array<uint8_t, 3>;

// The pictures' own colors if there are few enough, otherwise chosen by median cut (Heckbert 1982).
// Not thread-safe.
class Palette {
 public:
  static constexpr size_t kMaxColors = 256;

  // Requires RGB pictures, at least one of them with a pixel.
  explicit Palette(std::span<const Image> pictures);

  const std::vector<Rgb>& colors() const { return colors_; }

  // The index of the color nearest to `color`.
  uint8_t Nearest(const Rgb& color);

 private:
  std::vector<Rgb> colors_;
  std::unordered_map<uint32_t, uint8_t> nearest_;  // cache of Nearest
};

}  // namespace denoise
