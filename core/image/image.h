// Pictures as plain bytes, and their conversion from and to samples. No LibTorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
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
inline constexpr int kJpegQuality = 95;         // of 100

// InvalidArgument: the format cannot hold the image (empty, too large, wrong number of channels).
absl::StatusOr<std::string> EncodeImage(const Image& image, ImageFormat format);

// How many of a file's first bytes RecogniseFormat and DescribeOtherFormat look at.
inline constexpr size_t kMagicBytes = 16;
// The format of a file that begins with `start`. nullopt: it is not one that DecodeImage reads.
std::optional<ImageFormat> RecogniseFormat(std::string_view start);
// What such a file is instead, for people: "a GIF". Empty if that is not known.
std::string DescribeOtherFormat(std::string_view start);

// Recognises the format by the first bytes, and turns the picture upright as its Exif data says
// (all eight orientations, in every format). 16-bit PNGs are scaled to 8 bits, palettes become RGB
// or RGBA, and gray WebP pictures, which the format stores as color, become RGB or RGBA.
// InvalidArgument: the picture has more than `max_pixels` (checked in the header, before memory is
// spent), or is malformed, truncated, CMYK or animated.
absl::StatusOr<Image> DecodeImage(std::string_view bytes, int64_t max_pixels);

// `image` with 1 channel (gray: the luma of ITU-R BT.601) or 3 (RGB; gray is repeated), blended
// over white if it has alpha. Requires `channels` to be 1 or 3.
Image Flatten(const Image& image, int channels);

// A gray picture that is white where `image` is transparent and black where it is opaque.
// InvalidArgument: it has no alpha channel.
absl::StatusOr<Image> Transparency(const Image& image);

struct Region {
  int left = 0;
  int top = 0;
  int width = 0;
  int height = 0;
};

// The part of `image` inside `region`. Requires the region to lie within the image.
Image Crop(const Image& image, const Region& region);

Image FlipHorizontally(const Image& image);

// Crops `image` at its centre to the proportions width : height, then resizes it to that size:
// averaging over areas to shrink, so that nothing aliases, and interpolating linearly to grow.
// Requires an image with 1 or 3 channels that is not empty. ResourceExhausted: out of memory.
absl::StatusOr<Image> CropAndResize(const Image& image, int width, int height);

// The CHW sample of a picture: pixel / 127.5 - 1.
std::vector<float> SampleFromImage(const Image& image);

// Turns a picture from outside into a model's sample of channels (1 or 3) * height * width values:
// DecodeImage, Flatten, CropAndResize, SampleFromImage. Errors are those of these functions.
absl::StatusOr<std::vector<float>> DecodeSample(std::string_view bytes, int64_t max_pixels,
                                                int channels, int height, int width);

// The same for a mask's sample, of height * width values: DecodeImage, Transparency, CropAndResize,
// SampleFromImage.
absl::StatusOr<std::vector<float>> DecodeTransparency(std::string_view bytes, int64_t max_pixels,
                                                      int height, int width);

// A grid of the images, `columns` wide, with `padding` white pixels between and around them, each
// enlarged `scale` times by nearest neighbour. InvalidArgument: there are no images, their shapes
// differ, or the sheet would be unreasonably large.
absl::StatusOr<Image> ContactSheet(std::span<const Image> images, int columns, int padding,
                                   int scale);

// WebP is lossless. GIF has at most 256 colors for the whole animation (exact if there are no more,
// otherwise chosen by median cut, with each pixel taking the nearest), no alpha, and frames of
// whole hundredths of a second, at least two.
enum class AnimationFormat { kWebp, kGif };

// A looping animation. InvalidArgument: there are no frames, their sizes differ or exceed the
// format, or a frame does not last 1 to 60000 ms.
absl::StatusOr<std::string> EncodeAnimation(std::span<const Image> frames, int frame_milliseconds,
                                            AnimationFormat format);

// A .npy file (format version 1.0) of float32 in C order.
std::string EncodeNpy(std::span<const float> values, std::span<const int64_t> shape);

struct NpyArray {
  std::vector<int64_t> shape;
  std::vector<float> values;  // the product of the shape
};

// Reads what EncodeNpy and numpy.save write: version 1.0, little-endian float32 in C order.
// InvalidArgument: anything else, or a file whose length does not match its shape.
absl::StatusOr<NpyArray> DecodeNpy(std::string_view bytes);

}  // namespace denoise
