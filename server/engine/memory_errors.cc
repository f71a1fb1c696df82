#include "server/engine/memory_errors.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/error_details.h"

namespace denoise {
namespace {

std::string SizeText(int64_t height, int64_t width) {
  return absl::StrCat(width, " x ", height, " pixels");
}

std::string BytesText(int64_t bytes) {
  return absl::StrFormat("%.3g GiB", static_cast<double>(bytes) / (int64_t{1} << 30));
}

// `side` shrunk to `scale` of its length, on the grid.
int64_t Shrunk(int64_t side, double scale, int64_t multiple) {
  return static_cast<int64_t>(scale * static_cast<double>(side)) / multiple * multiple;
}

std::string RowsText(int64_t rows) { return absl::StrCat(rows, rows == 1 ? " row" : " rows"); }

}  // namespace

absl::Status ImageOutOfMemory(const ImageMemory& image) {
  const std::string failed =
      absl::StrCat(image.device, " ran out of memory for image ", image.image_index, " of ",
                   SizeText(image.height, image.width), ", which takes ", RowsText(image.rows),
                   " of a network call");
  const int64_t pixels = image.height * image.width;
  // Not more than has just failed, which others may have shared the memory with.
  const int64_t fitted = std::min(image.fitted_row_pixels, image.rows * pixels - 1);
  if (fitted <= 0) {
    return WithErrorReason(
        absl::ResourceExhaustedError(absl::StrCat(
            failed, ". No call of this model has fit so far: ask for a smaller image")),
        kOutOfMemory);
  }
  const int64_t rows = fitted / pixels;
  const double scale = std::sqrt(static_cast<double>(fitted) / static_cast<double>(image.rows) /
                                 static_cast<double>(pixels));
  const int64_t height = Shrunk(image.height, scale, image.size_multiple);
  const int64_t width = Shrunk(image.width, scale, image.size_multiple);
  absl::Status status =
      WithErrorReason(absl::ResourceExhaustedError(absl::StrCat(
                          failed, ". As many pixels as in ",
                          rows > 0 ? absl::StrCat(RowsText(rows), " of this size, or in ") : "",
                          RowsText(image.rows), " of ", SizeText(height, width),
                          ", have fit: ask for a smaller image",
                          image.rows > 1 && rows > 0 ? ", or for one without guidance" : "")),
                      kOutOfMemory);
  for (const auto& [key, value] : {std::pair<std::string_view, int64_t>{"fitting_rows", rows},
                                   {"fitting_height", height},
                                   {"fitting_width", width}}) {
    status = WithErrorMetadata(std::move(status), key, std::to_string(value));
  }
  return status;
}

// Memory grows with the pixels, or faster.
absl::Status ImageTooLarge(const LargeImage& image) {
  const double scale =
      std::sqrt(static_cast<double>(image.device_bytes) / static_cast<double>(image.bytes));
  const int64_t height = Shrunk(image.height, scale, image.size_multiple);
  const int64_t width = Shrunk(image.width, scale, image.size_multiple);
  const bool fits = height > 0 && width > 0;
  absl::Status status =
      WithErrorReason(absl::ResourceExhaustedError(absl::StrCat(
                          "an image of ", SizeText(image.height, image.width), " takes ",
                          RowsText(image.rows), " of a network call and about ",
                          BytesText(image.bytes), " of memory, and the device has ",
                          BytesText(image.device_bytes), " in all: ask for a smaller one",
                          fits ? absl::StrCat(", of at most ", SizeText(height, width)) : "",
                          image.rows > 1 ? ", or for one without guidance" : "")),
                      kOutOfMemory);
  if (!fits) return status;
  status = WithErrorMetadata(std::move(status), "fitting_height", std::to_string(height));
  return WithErrorMetadata(std::move(status), "fitting_width", std::to_string(width));
}

int64_t SizeMultiple(const Pipeline& pipeline) {
  return std::max<int64_t>(1,
                           pipeline.codec->spec().factor * pipeline.network->spec().size_multiple);
}

}  // namespace denoise
