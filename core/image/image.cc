#include "core/image/image.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/stand_in.h"
#include "core/base/status_macros.h"
#include "core/image/codec.h"
#include "core/image/exif.h"

namespace denoise {
namespace {

// Rounds half to even in float32, like numpy and so the Python pipelines. NaN fails the first
// comparison.
uint8_t PixelFromValue(float value) {
  const float unit = value / 2 + 0.5f;
  if (!(unit > 0)) return 0;
  return static_cast<uint8_t>(std::nearbyint(std::min(unit, 1.0f) * 255.0f));
}

// WebP stores durations in 24 bits. Much shorter ones are already a mistake.
constexpr int kMaxFrameMilliseconds = 60'000;
constexpr size_t kMaxFrames = 10'000;

constexpr char kConvert[] = "convert it to one";
constexpr StandIn kSvg = {"an SVG", kConvert};
constexpr StandIn kPngAsText = {"a PNG that was damaged when it was copied as text",
                                "copy or download it again as binary"};

// Formats that people have pictures in, and that are not read.
struct OtherFormat {
  size_t offset;
  std::string_view magic;
  StandIn kind;
};
constexpr OtherFormat kOtherFormats[] = {
    {0, "GIF8", {"a GIF", kConvert}},
    {0, "BM", {"a BMP", kConvert}},
    {0, {"II*\0", 4}, {"a TIFF or a camera's raw file", kConvert}},
    {0, {"MM\0*", 4}, {"a TIFF or a camera's raw file", kConvert}},
    {4, "ftypavi", {"an AVIF", kConvert}},
    {4, "ftyphe", {"a HEIC", kConvert}},
    {4, "ftypmif1", {"a HEIC", kConvert}},
    {4, "ftypmsf1", {"a HEIC", kConvert}},
    {0, {"\xff\x0a", 2}, {"a JPEG XL", kConvert}},
    {0, {"\0\0\0\x0cJXL ", 8}, {"a JPEG XL", kConvert}},
    {0, {"\0\0\0\x0cjP  ", 8}, {"a JPEG 2000", kConvert}},
    {0, "<svg", kSvg},
    {0, "%PDF", {"a PDF", kConvert}},
    // The signature of PNG is made to show what a transfer as text does to it: other line ends, or
    // another encoding.
    {0, "\x89PNG\n", kPngAsText},
    {0, "\x89PNG\r\r\n", kPngAsText},
    {0, "\x89PNG\r\n\x1a\r\n", kPngAsText},
    {0, "\xc2\x89PNG", kPngAsText},
    {0, "\xef\xbf\xbdPNG", kPngAsText},
};

std::optional<StandIn> FindOtherFormat(std::string_view start) {
  for (const OtherFormat& format : kOtherFormats) {
    if (start.size() > format.offset && start.substr(format.offset).starts_with(format.magic)) {
      return format.kind;
    }
  }
  return std::nullopt;
}

// What the bytes of a whole file are instead of a picture.
std::optional<StandIn> FindOtherKind(std::string_view file) {
  constexpr size_t kPrologBytes = 1024;
  if (const std::optional<StandIn> format = FindOtherFormat(file)) return format;
  const bool is_xml = file.starts_with("<?xml");
  if (is_xml && file.substr(0, kPrologBytes).find("<svg") != std::string_view::npos) return kSvg;
  return RecogniseStandIn(file);
}

absl::Status ValidateFrames(std::span<const Image> frames, int frame_milliseconds) {
  if (frames.empty()) return absl::InvalidArgumentError("an animation needs at least one frame");
  if (frames.size() > kMaxFrames) {
    return absl::InvalidArgumentError(
        absl::StrCat("an animation holds at most ", kMaxFrames, " frames"));
  }
  if (frame_milliseconds < 1 || frame_milliseconds > kMaxFrameMilliseconds) {
    return absl::InvalidArgumentError(absl::StrCat("a frame lasts 1 to ", kMaxFrameMilliseconds,
                                                   " ms, not ", frame_milliseconds));
  }
  for (const Image& frame : frames) {
    RETURN_IF_ERROR(ValidateImage(frame));
    if (frame.width != frames[0].width || frame.height != frames[0].height) {
      return absl::InvalidArgumentError("the frames of an animation differ in size");
    }
  }
  return absl::OkStatus();
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

std::optional<ImageFormat> RecogniseFormat(std::string_view start) {
  if (start.starts_with("\x89PNG\r\n\x1a\n")) return ImageFormat::kPng;
  if (start.starts_with("\xff\xd8\xff")) return ImageFormat::kJpeg;
  if (start.starts_with("RIFF") && start.size() >= 12 && start.substr(8, 4) == "WEBP") {
    return ImageFormat::kWebp;
  }
  return std::nullopt;
}

std::string DescribeOtherFormat(std::string_view start) {
  const std::optional<StandIn> other = FindOtherFormat(start);
  return other ? std::string(other->name) : "";
}

absl::StatusOr<Image> DecodeImage(std::string_view bytes, int64_t max_pixels) {
  const std::optional<ImageFormat> format = RecogniseFormat(bytes);
  if (!format) {
    std::string problem = "neither a PNG, a JPEG nor a WebP picture";
    if (const std::optional<StandIn> other = FindOtherKind(bytes)) {
      problem.append(" but ").append(other->name).append("; ").append(other->remedy);
    }
    return absl::InvalidArgumentError(problem);
  }
  switch (*format) {
    case ImageFormat::kPng: {
      ASSIGN_OR_RETURN(Image image, DecodePng(bytes, max_pixels));
      return Upright(std::move(image), PngOrientation(bytes));
    }
    case ImageFormat::kJpeg:
      return DecodeJpeg(bytes, max_pixels);
    case ImageFormat::kWebp: {
      ASSIGN_OR_RETURN(Image image, DecodeWebp(bytes, max_pixels));
      return Upright(std::move(image), WebpOrientation(bytes));
    }
  }
  return absl::InternalError("unknown image format");
}

absl::StatusOr<std::string> EncodeAnimation(std::span<const Image> frames, int frame_milliseconds,
                                            AnimationFormat format) {
  RETURN_IF_ERROR(ValidateFrames(frames, frame_milliseconds));
  switch (format) {
    case AnimationFormat::kWebp:
      return EncodeWebpAnimation(frames, frame_milliseconds);
    case AnimationFormat::kGif:
      return EncodeGifAnimation(frames, frame_milliseconds);
  }
  return absl::InvalidArgumentError("unknown animation format");
}

absl::Status ValidateImage(const Image& image) {
  if (image.width < 1 || image.height < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the image is empty: ", image.width, " x ", image.height, " pixels"));
  }
  if (image.channels < 1 || image.channels > 4) {
    return absl::InvalidArgumentError(
        absl::StrCat("the image has ", image.channels, " channels; must have 1 to 4"));
  }
  // No overflow: below 2^31 * 2^31 * 4.
  if (image.pixels.size() != uint64_t{1} * image.width * image.height * image.channels) {
    return absl::InvalidArgumentError("the image's pixels do not match its size");
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
