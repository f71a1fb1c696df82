// A picture from the server, as pixels to look at and as a file to keep.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/image/image.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

struct ReceivedImage {
  Image pixels;
  std::string extension;   // "png", "jpg", "webp" or "npy"
  std::string file_bytes;  // as it was sent; a raw sample becomes a .npy file of float32, [C, H, W]
};

// Internal when the bytes are not what they are said to be: the server is not to be trusted.
absl::StatusOr<ReceivedImage> ReceiveImage(const denoised::v1::Image& image);

}  // namespace denoise
