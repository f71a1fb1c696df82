#include "core/image/image.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/image/codec.h"

namespace denoise {
namespace {

// Half to even, in float32: the arithmetic of numpy and so of the Python pipelines. NaN fails the
// first comparison.
uint8_t PixelFromValue(float value) {
  const float unit = value / 2 + 0.5f;
  if (!(unit > 0)) return 0;
  return static_cast<uint8_t>(std::nearbyint(std::min(unit, 1.0f) * 255.0f));
}

}  // namespace

Image ImageFromSample(std::span<const float> sample, int channels, int height, int width) {
  DENOISE_DCHECK(sample.size() == size_t{1} * channels * height * width);
  Image image{width, height, channels, {}};
  image.pixels.resize(sample.size());
  const size_t plane = static_cast<size_t>(height) * width;
  for (int c = 0; c < channels; ++c) {
    for (size_t i = 0; i < plane; ++i) {
      image.pixels[i * channels + c] = PixelFromValue(sample[c * plane + i]);
    }
  }
  return image;
}

absl::StatusOr<std::string> EncodeImage(const Image& image, ImageFormat format) {
  RETURN_IF_ERROR(ValidateImage(image));
  switch (format) {
    case ImageFormat::kPng:
      return EncodePng(image);
    case ImageFormat::kJpeg:
      return EncodeJpeg(image);
    case ImageFormat::kWebp:
      return EncodeWebp(image);
  }
  return absl::InvalidArgumentError("unknown image format");
}

absl::StatusOr<Image> DecodeImage(std::string_view bytes, int64_t max_pixels) {
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return DecodePng(bytes, max_pixels);
  if (bytes.starts_with("\xff\xd8\xff")) return DecodeJpeg(bytes, max_pixels);
  if (bytes.starts_with("RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") {
    return DecodeWebp(bytes, max_pixels);
  }
  return absl::InvalidArgumentError("neither a PNG, a JPEG nor a WebP picture");
}

absl::Status ValidateImage(const Image& image) {
  if (image.width < 1 || image.height < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the image is empty: ", image.width, " x ", image.height, " pixels"));
  }
  if (image.channels < 1 || image.channels > 4) {
    return absl::InvalidArgumentError(
        absl::StrCat("the image has ", image.channels, " channels; 1 to 4 can be encoded"));
  }
  // No overflow: below 2^31 * 2^31 * 4.
  if (image.pixels.size() != uint64_t{1} * image.width * image.height * image.channels) {
    return absl::InvalidArgumentError("the image holds fewer or more pixels than its size says");
  }
  return absl::OkStatus();
}

absl::Status CheckPixelLimit(int64_t width, int64_t height, int64_t max_pixels) {
  if (width < 1 || height < 1) return absl::InvalidArgumentError("the picture is empty");
  if (width > max_pixels / height) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the picture has ", width, " x ", height, " pixels; at most ", max_pixels, " are allowed"));
  }
  return absl::OkStatus();
}

Image WithChannels(const Image& image, int channels) {
  Image result{image.width, image.height, channels, {}};
  const size_t count = image.pixels.size() / image.channels;
  result.pixels.resize(count * channels);
  const bool has_alpha = image.channels == 2 || image.channels == 4;
  const bool wants_alpha = channels == 2 || channels == 4;
  const int from_colors = image.channels - has_alpha;
  const int to_colors = channels - wants_alpha;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* from = &image.pixels[i * image.channels];
    uint8_t* to = &result.pixels[i * channels];
    for (int c = 0; c < to_colors; ++c) to[c] = from[std::min(c, from_colors - 1)];
    if (wants_alpha) to[to_colors] = has_alpha ? from[from_colors] : 255;
  }
  return result;
}

}  // namespace denoise
