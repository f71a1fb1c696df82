// Pictures as plain bytes, and how samples become pictures. No LibTorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

// 8-bit pixels, interleaved (HWC), rows without padding.
struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;  // 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA
  std::vector<uint8_t> pixels;

  bool operator==(const Image&) const = default;
};

// round(clamp(x / 2 + 0.5) * 255) of a CHW sample in [-1, 1]; values outside are clamped, NaN
// becomes 0. `sample` has channels * height * width values.
Image ImageFromSample(std::span<const float> sample, int channels, int height, int width);

enum class ImageFormat { kPng, kJpeg, kWebp };  // WebP is lossless; JPEG drops alpha

// InvalidArgument where the format cannot hold the image (empty, too large, wrong number of
// channels).
absl::StatusOr<std::string> EncodeImage(const Image& image, ImageFormat format);

// Tells the format from the first bytes. 16-bit PNGs are scaled to 8 bits, palettes become RGB or
// RGBA; WebP has no gray and comes back as RGB or RGBA. InvalidArgument for more than `max_pixels`,
// which is decided from the header before memory is spent, and for what is malformed, cut short,
// CMYK or animated.
absl::StatusOr<Image> DecodeImage(std::string_view bytes, int64_t max_pixels);

// One picture of equally sized cells, `columns` wide, `padding` white pixels between and around,
// each cell enlarged `scale` times by nearest neighbour. InvalidArgument unless the images have one
// shape, there is one, and the sheet is of reasonable size.
absl::StatusOr<Image> ContactSheet(std::span<const Image> images, int columns, int padding,
                                   int scale);

// WebP is lossless. GIF has at most 256 colors for the whole animation (exact where there are no
// more, else by median cut, each pixel taking the nearest), no alpha, and time in hundredths of a
// second, at least two.
enum class AnimationFormat { kWebp, kGif };

// A looping animation. InvalidArgument unless all frames have one size that the format can hold and
// there is one, of 1 to 60000 ms.
absl::StatusOr<std::string> EncodeAnimation(std::span<const Image> frames, int frame_milliseconds,
                                            AnimationFormat format);

// A .npy file (format version 1.0) of float32 in C order.
std::string EncodeNpy(std::span<const float> values, std::span<const int64_t> shape);

}  // namespace denoise
