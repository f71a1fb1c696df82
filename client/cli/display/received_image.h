// A picture from the server, as pixels to show and as a file to keep.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/image/image.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

struct ReceivedImage {
  Image pixels;
  std::string extension;   // "png", "jpg", "webp" or "npy"
  std::string file_bytes;  // as sent; a raw sample becomes a .npy file, float32, [C, H, W]
};

// Internal if the bytes do not match their description: the server is not trusted.
absl::StatusOr<ReceivedImage> ReceiveImage(const denoised::v1::Image& image);

}  // namespace denoise
