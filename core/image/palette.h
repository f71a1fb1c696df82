// At most 256 colors that stand for all colors of some pictures. Internal to core/image.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/image/image.h"

namespace denoise {

using Rgb = std::array<uint8_t, 3>;

// The colors themselves where there are few enough, otherwise those of median cut (Heckbert 1982).
// Used by one thread.
class Palette {
 public:
  static constexpr size_t kMaxColors = 256;

  // Of RGB pictures, at least one with a pixel.
  explicit Palette(std::span<const Image> pictures);

  const std::vector<Rgb>& colors() const { return colors_; }

  // The index of the color nearest to `color`.
  uint8_t Nearest(const Rgb& color);

 private:
  std::vector<Rgb> colors_;
  std::unordered_map<uint32_t, uint8_t> nearest_;  // of what was asked before
};

}  // namespace denoise
