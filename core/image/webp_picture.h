// A WebPPicture with an owner, shared by still and animated pictures. Internal to core/image.
#pragma once

#include <webp/encode.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/image/image.h"

namespace denoise {

// The settings of every lossless picture we write.
absl::StatusOr<WebPConfig> LosslessWebpConfig();

class WebpPicture {
 public:
  WebpPicture() = default;
  ~WebpPicture();
  WebpPicture(const WebpPicture&) = delete;
  WebpPicture& operator=(const WebpPicture&) = delete;

  // Copies a valid image. InvalidArgument where it is too large for the format.
  absl::Status Import(const Image& image);

  WebPPicture* get() { return &picture_; }

 private:
  WebPPicture picture_;
  bool initialized_ = false;
};

}  // namespace denoise
