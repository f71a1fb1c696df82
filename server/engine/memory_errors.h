// What a caller is told whose image does not fit into the memory of a device.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "core/pipeline/pipeline.h"

namespace denoise {

// The reason of such statuses (core/base/error_details.h).
inline constexpr char kOutOfMemory[] = "OUT_OF_MEMORY";

// An image, and what is known of the memory that its model's network takes.
struct ImageMemory {
  std::string device;  // "cuda:0"
  int image_index = 0;
  int64_t height = 0;  // of the image, in pixels
  int64_t width = 0;
  int64_t size_multiple = 1;  // of the sides that such images may have
  int rows = 1;               // that one network call takes of the image
  // The most rows times pixels that one call of this model's network has taken so far without
  // running out of memory. 0: none has run.
  int64_t fitted_row_pixels = 0;
};

// ResourceExhausted: names the image's size and rows, how many rows of that size have fit, and of
// which size as many rows have; also as metadata "fitting_rows", "fitting_height" and
// "fitting_width".
absl::Status ImageOutOfMemory(const ImageMemory& image);

// An image that no device has the memory for.
struct LargeImage {
  int64_t height = 0;  // in pixels
  int64_t width = 0;
  int64_t size_multiple = 1;
  int rows = 1;              // as ImageMemory's
  int64_t bytes = 0;         // that they take
  int64_t device_bytes = 0;  // of the largest device
};

// ResourceExhausted: names the image's size, what it takes and what there is, and which size could
// fit if nothing else were there; also as metadata "fitting_height" and "fitting_width".
absl::Status ImageTooLarge(const LargeImage& image);

// What the sides of an image must be multiples of.
int64_t SizeMultiple(const Pipeline& pipeline);

}  // namespace denoise
