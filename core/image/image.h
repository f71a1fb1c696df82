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

// `image` in 1 channel (gray: the luma of ITU-R BT.601) or 3 (RGB): gray is repeated, alpha laid
// over white.
Image Flatten(const Image& image, int channels);

struct Region {
  int left = 0;
  int top = 0;
  int width = 0;
  int height = 0;
};

// The part of `image` that `region`, which lies within it, covers.
Image Crop(const Image& image, const Region& region);

// Left becomes right.
Image FlipHorizontally(const Image& image);

// The middle of `image`, cut to the proportions width : height, then resized to exactly that:
// averaged over areas where it shrinks, so that nothing aliases, and linear between pixels where it
// grows. `image` is not empty and has 1 or 3 channels. ResourceExhausted where memory runs out.
absl::StatusOr<Image> CropAndResize(const Image& image, int width, int height);

// The CHW sample of a picture: pixel / 127.5 - 1.
std::vector<float> SampleFromImage(const Image& image);

// A picture from outside as a model's sample, channels (1 or 3) * height * width values: decoded,
// flattened, cropped and resized as above. Errors are those of DecodeImage and CropAndResize.
absl::StatusOr<std::vector<float>> DecodeSample(std::string_view bytes, int64_t max_pixels,
                                                int channels, int height, int width);

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

struct NpyArray {
  std::vector<int64_t> shape;
  std::vector<float> values;  // as many as the shape says
};

// Reads what EncodeNpy and numpy.save write: version 1.0, little-endian float32 in C order.
// InvalidArgument for anything else, and for a file that holds more or less than its shape says.
absl::StatusOr<NpyArray> DecodeNpy(std::string_view bytes);

}  // namespace denoise
