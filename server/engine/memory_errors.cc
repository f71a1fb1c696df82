#include "server/engine/memory_errors.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"

namespace denoise {
namespace {

std::string SizeText(int64_t height, int64_t width) {
  return absl::StrCat(width, " x ", height, " pixels");
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
  const double side = std::sqrt(static_cast<double>(fitted) / static_cast<double>(image.rows) /
                                static_cast<double>(pixels));
  const auto on_grid = [&](int64_t pixels_of_side) {
    const auto shrunk = static_cast<int64_t>(side * static_cast<double>(pixels_of_side));
    return shrunk / image.size_multiple * image.size_multiple;
  };
  const int64_t height = on_grid(image.height), width = on_grid(image.width);
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

}  // namespace denoise
