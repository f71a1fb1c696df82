#include "core/image/palette.h"

#include <algorithm>
#include <set>
#include <utility>

namespace denoise {
namespace {

// Size of the cache of nearest colors: noise has millions of colors.
constexpr size_t kMostRemembered = size_t{1} << 18;

// Median cut treats colors that agree in this many bits per channel as one.
constexpr int kBits = 6;

struct WeightedColor {
  Rgb color;
  uint64_t pixels;
};

Rgb ColorAt(const Image& picture, size_t offset) {
  return {picture.pixels[offset], picture.pixels[offset + 1], picture.pixels[offset + 2]};
}

template <class Visit>
void ForEachPixel(std::span<const Image> pictures, Visit visit) {
  for (const Image& picture : pictures) {
    for (size_t i = 0; i < picture.pixels.size(); i += 3) {
      if (!visit(ColorAt(picture, i))) return;
    }
  }
}

// All distinct colors in order, or one more than a palette holds.
std::set<Rgb> DistinctColors(std::span<const Image> pictures) {
  std::set<Rgb> colors;
  ForEachPixel(pictures, [&](const Rgb& color) {
    colors.insert(color);
    return colors.size() <= Palette::kMaxColors;
  });
  return colors;
}

// The mean of each cube of colors that has pixels.
std::vector<WeightedColor> Histogram(std::span<const Image> pictures) {
  struct Cube {
    std::array<uint64_t, 3> sum{};
    uint64_t pixels = 0;
  };
  std::vector<Cube> cubes(size_t{1} << (3 * kBits));
  ForEachPixel(pictures, [&](const Rgb& color) {
    size_t index = 0;
    for (const uint8_t value : color) index = index << kBits | value >> (8 - kBits);
    for (int c = 0; c < 3; ++c) cubes[index].sum[c] += color[c];
    ++cubes[index].pixels;
    return true;
  });
  std::vector<WeightedColor> colors;
  for (const Cube& cube : cubes) {
    if (cube.pixels == 0) continue;
    WeightedColor& mean = colors.emplace_back(WeightedColor{{}, cube.pixels});
    for (int c = 0; c < 3; ++c) mean.color[c] = static_cast<uint8_t>(cube.sum[c] / cube.pixels);
  }
  return colors;
}

// A part of the histogram.
struct Box {
  std::span<WeightedColor> colors;
  int longest = 0;      // the channel in which its colors differ most
  uint64_t weight = 0;  // pixels times the square of that difference: what splitting is worth

  explicit Box(std::span<WeightedColor> members) : colors(members) {
    uint64_t pixels = 0;
    for (const WeightedColor& member : colors) pixels += member.pixels;
    for (int c = 0; c < 3; ++c) {
      const auto [least, most] = std::minmax_element(
          colors.begin(), colors.end(),
          [c](const auto& a, const auto& b) { return a.color[c] < b.color[c]; });
      const uint64_t length = most->color[c] - least->color[c];
      if (pixels * length * length <= weight) continue;
      weight = pixels * length * length;
      longest = c;
    }
  }

  // Halves of as many pixels as can be, neither empty. Requires two colors.
  std::pair<Box, Box> Split() const {
    std::sort(colors.begin(), colors.end(),
              [this](const auto& a, const auto& b) { return a.color[longest] < b.color[longest]; });
    uint64_t pixels = 0, before = 0;
    for (const WeightedColor& member : colors) pixels += member.pixels;
    size_t middle = 0;
    while (middle + 1 < colors.size() && (middle == 0 || 2 * before < pixels)) {
      before += colors[middle++].pixels;
    }
    return {Box(colors.subspan(0, middle)), Box(colors.subspan(middle))};
  }

  Rgb Mean() const {
    std::array<uint64_t, 3> sum{};
    uint64_t pixels = 0;
    for (const WeightedColor& member : colors) {
      for (int c = 0; c < 3; ++c) sum[c] += member.pixels * member.color[c];
      pixels += member.pixels;
    }
    Rgb mean;
    for (int c = 0; c < 3; ++c) mean[c] = static_cast<uint8_t>((sum[c] + pixels / 2) / pixels);
    return mean;
  }
};

std::vector<Rgb> MedianCut(std::vector<WeightedColor> colors) {
  std::vector<Box> boxes = {Box(colors)};
  while (boxes.size() < Palette::kMaxColors) {
    const auto widest = std::max_element(
        boxes.begin(), boxes.end(), [](const Box& a, const Box& b) { return a.weight < b.weight; });
    if (widest->weight == 0) break;  // each is one color
    const auto [first, second] = widest->Split();
    *widest = first;
    boxes.push_back(second);
  }
  std::vector<Rgb> palette;
  for (const Box& box : boxes) palette.push_back(box.Mean());
  return palette;
}

int SquaredDistance(const Rgb& a, const Rgb& b) {
  int sum = 0;
  for (int c = 0; c < 3; ++c) sum += (a[c] - b[c]) * (a[c] - b[c]);
  return sum;
}

}  // namespace

Palette::Palette(std::span<const Image> pictures) {
  const std::set<Rgb> distinct = DistinctColors(pictures);
  colors_ = distinct.size() <= kMaxColors ? std::vector<Rgb>(distinct.begin(), distinct.end())
                                          : MedianCut(Histogram(pictures));
}

uint8_t Palette::Nearest(const Rgb& color) {
  const uint32_t key = uint32_t{color[0]} << 16 | uint32_t{color[1]} << 8 | color[2];
  if (const auto known = nearest_.find(key); known != nearest_.end()) return known->second;
  const auto nearest =
      std::min_element(colors_.begin(), colors_.end(), [&color](const Rgb& a, const Rgb& b) {
        return SquaredDistance(a, color) < SquaredDistance(b, color);
      });
  const auto index = static_cast<uint8_t>(nearest - colors_.begin());
  if (nearest_.size() < kMostRemembered) nearest_.emplace(key, index);
  return index;
}

}  // namespace denoise
