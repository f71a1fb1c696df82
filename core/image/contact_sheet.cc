#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/image/codec.h"

namespace denoise {
namespace {

constexpr int kMaxColumns = 4096;
constexpr int kMaxPadding = 1024;
constexpr int kMaxScale = 64;
constexpr int64_t kMaxSheetPixels = int64_t{1} << 28;

absl::Status CheckRange(absl::string_view name, int value, int min, int max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " must be between ", min, " and ", max, ", is ", value));
}

absl::Status ValidateCells(std::span<const Image> images) {
  if (images.empty()) return absl::InvalidArgumentError("a contact sheet needs at least one image");
  const Image& first = images[0];
  for (const Image& image : images) {
    RETURN_IF_ERROR(ValidateImage(image));
    if (image.width != first.width || image.height != first.height ||
        image.channels != first.channels) {
      return absl::InvalidArgumentError("the images of a contact sheet differ in shape");
    }
  }
  return absl::OkStatus();
}

// Writes `image`, each pixel as a square of `scale`, with its top left corner at (left, top).
void DrawEnlarged(const Image& image, int scale, int left, int top, Image& sheet) {
  const int channels = image.channels;
  for (int y = 0; y < image.height * scale; ++y) {
    const uint8_t* from = &image.pixels[size_t{1} * (y / scale) * image.width * channels];
    uint8_t* to = &sheet.pixels[(size_t{1} * (top + y) * sheet.width + left) * channels];
    for (int x = 0; x < image.width * scale; ++x) {
      std::copy_n(from + x / scale * channels, channels, to + x * channels);
    }
  }
}

}  // namespace

absl::StatusOr<Image> ContactSheet(std::span<const Image> images, int columns, int padding,
                                   int scale) {
  RETURN_IF_ERROR(CheckRange("columns", columns, 1, kMaxColumns));
  RETURN_IF_ERROR(CheckRange("padding", padding, 0, kMaxPadding));
  RETURN_IF_ERROR(CheckRange("scale", scale, 1, kMaxScale));
  RETURN_IF_ERROR(ValidateCells(images));
  const int64_t rows = (images.size() + columns - 1) / columns;
  const int64_t cell_width = int64_t{images[0].width} * scale + padding;
  const int64_t cell_height = int64_t{images[0].height} * scale + padding;
  const int64_t width = cell_width * columns + padding;
  const int64_t height = cell_height * rows + padding;
  RETURN_IF_ERROR(CheckPixelLimit(width, height, kMaxSheetPixels));
  Image sheet{static_cast<int>(width), static_cast<int>(height), images[0].channels, {}};
  sheet.pixels.assign(static_cast<size_t>(width * height * sheet.channels), 255);
  for (size_t i = 0; i < images.size(); ++i) {
    const int left = static_cast<int>(padding + cell_width * (i % columns));
    const int top = static_cast<int>(padding + cell_height * (i / columns));
    DrawEnlarged(images[i], scale, left, top, sheet);
  }
  return sheet;
}

}  // namespace denoise
