#include <webp/encode.h>

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/image/codec.h"

namespace denoise {
namespace {

// The largest region at the centre of a `width` x `height` picture with the proportions `to_width`
// : `to_height`.
Region Centre(int width, int height, int to_width, int to_height) {
  const int64_t widest = std::max<int64_t>(1, int64_t{height} * to_width / to_height);
  const int64_t highest = std::max<int64_t>(1, int64_t{width} * to_height / to_width);
  const int kept_width = static_cast<int>(std::min<int64_t>(width, widest));
  const int kept_height = static_cast<int>(std::min<int64_t>(height, highest));
  return {(width - kept_width) / 2, (height - kept_height) / 2, kept_width, kept_height};
}

// Resamples with libwebp, which is a dependency anyway.
class Resampler {
 public:
  Resampler() : valid_(WebPPictureInit(&picture_)) { picture_.use_argb = 1; }
  ~Resampler() {
    if (valid_) WebPPictureFree(&picture_);
  }
  Resampler(const Resampler&) = delete;
  Resampler& operator=(const Resampler&) = delete;

  // `rgb` has 3 channels.
  absl::StatusOr<Image> Resample(const Image& rgb, int width, int height) {
    if (!valid_) return absl::InternalError("libwebp's version differs from that of its headers");
    picture_.width = rgb.width;
    picture_.height = rgb.height;
    if (!WebPPictureImportRGB(&picture_, rgb.pixels.data(), rgb.width * rgb.channels) ||
        !WebPPictureRescale(&picture_, width, height)) {
      return absl::ResourceExhaustedError("not enough memory to resize the picture");
    }
    return Pixels();
  }

 private:
  Image Pixels() const {
    Image image{picture_.width, picture_.height, 3, {}};
    image.pixels.reserve(size_t{3} * picture_.width * picture_.height);
    for (int y = 0; y < picture_.height; ++y) {
      const uint32_t* row = picture_.argb + static_cast<ptrdiff_t>(y) * picture_.argb_stride;
      for (int x = 0; x < picture_.width; ++x) {
        for (int shift : {16, 8, 0}) image.pixels.push_back((row[x] >> shift) & 0xff);
      }
    }
    return image;
  }

  WebPPicture picture_;
  const bool valid_;
};

uint8_t OverWhite(uint8_t value, uint8_t alpha) {
  return static_cast<uint8_t>((value * alpha + 255 * (255 - alpha) + 127) / 255);
}

// The luma of ITU-R BT.601, in the fixed point of the Python imaging library.
uint8_t Luma(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

}  // namespace

Image Flatten(const Image& image, int channels) {
  DENOISE_DCHECK(channels == 1 || channels == 3);
  const bool has_alpha = image.channels % 2 == 0;
  const int colors = image.channels - has_alpha;
  Image flat{image.width, image.height, channels, {}};
  const size_t count = image.pixels.size() / image.channels;
  flat.pixels.resize(count * channels);
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* from = &image.pixels[i * image.channels];
    uint8_t rgb[3];
    for (int c = 0; c < 3; ++c) {
      const uint8_t value = from[std::min(c, colors - 1)];
      rgb[c] = has_alpha ? OverWhite(value, from[colors]) : value;
    }
    uint8_t* to = &flat.pixels[i * channels];
    if (channels == 3) {
      std::copy(rgb, rgb + 3, to);
    } else {
      *to = colors == 1 ? rgb[0] : Luma(rgb);
    }
  }
  return flat;
}

absl::StatusOr<Image> Transparency(const Image& image) {
  const bool has_alpha = image.channels % 2 == 0;
  if (!has_alpha) {
    return absl::InvalidArgumentError(
        "has no alpha channel; save it as a PNG or WebP that is transparent where the "
        "picture is to be replaced");
  }
  Image transparency{image.width, image.height, 1, {}};
  transparency.pixels.reserve(image.pixels.size() / image.channels);
  for (size_t i = image.channels - 1; i < image.pixels.size(); i += image.channels) {
    transparency.pixels.push_back(255 - image.pixels[i]);
  }
  return transparency;
}

Image Crop(const Image& image, const Region& region) {
  DENOISE_DCHECK(region.left >= 0 && region.width <= image.width - region.left);
  DENOISE_DCHECK(region.top >= 0 && region.height <= image.height - region.top);
  Image cropped{region.width, region.height, image.channels, {}};
  const size_t stride = static_cast<size_t>(region.width) * image.channels;
  cropped.pixels.resize(stride * region.height);
  for (int y = 0; y < region.height; ++y) {
    const size_t row = static_cast<size_t>(region.top + y) * image.width + region.left;
    std::memcpy(&cropped.pixels[y * stride], &image.pixels[row * image.channels], stride);
  }
  return cropped;
}

Image FlipHorizontally(const Image& image) {
  Image flipped = image;
  const size_t stride = static_cast<size_t>(image.width) * image.channels;
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* from = &image.pixels[y * stride];
    uint8_t* to = &flipped.pixels[(y + 1) * stride];
    for (int x = 0; x < image.width; ++x, from += image.channels) {
      to -= image.channels;
      std::copy_n(from, image.channels, to);
    }
  }
  return flipped;
}

absl::StatusOr<Image> CropAndResize(const Image& image, int width, int height) {
  DENOISE_DCHECK(!image.pixels.empty() && (image.channels == 1 || image.channels == 3));
  const Region centre = Centre(image.width, image.height, width, height);
  if (centre.width == width && centre.height == height) return Crop(image, centre);
  Resampler resampler;
  ASSIGN_OR_RETURN(const Image resized,
                   resampler.Resample(WithChannels(Crop(image, centre), 3), width, height));
  return WithChannels(resized, image.channels);
}

std::vector<float> SampleFromImage(const Image& image) {
  const size_t plane = static_cast<size_t>(image.width) * image.height;
  std::vector<float> sample(image.pixels.size());
  for (size_t i = 0; i < plane; ++i) {
    for (int c = 0; c < image.channels; ++c) {
      sample[c * plane + i] = static_cast<float>(image.pixels[i * image.channels + c]) / 127.5f - 1;
    }
  }
  return sample;
}

absl::StatusOr<std::vector<float>> DecodeSample(std::string_view bytes, int64_t max_pixels,
                                                int channels, int height, int width) {
  ASSIGN_OR_RETURN(const Image picture, DecodeImage(bytes, max_pixels));
  ASSIGN_OR_RETURN(const Image resized, CropAndResize(Flatten(picture, channels), width, height));
  return SampleFromImage(resized);
}

absl::StatusOr<std::vector<float>> DecodeTransparency(std::string_view bytes, int64_t max_pixels,
                                                      int height, int width) {
  ASSIGN_OR_RETURN(const Image picture, DecodeImage(bytes, max_pixels));
  ASSIGN_OR_RETURN(const Image transparency, Transparency(picture));
  ASSIGN_OR_RETURN(const Image resized, CropAndResize(transparency, width, height));
  return SampleFromImage(resized);
}

}  // namespace denoise
