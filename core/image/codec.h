// The formats behind EncodeImage, DecodeImage and EncodeAnimation. Internal to core/image.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/image/image.h"

namespace denoise {

// InvalidArgument unless the image has positive size, 1 to 4 channels and pixels to match. Encoders
// only see images that passed this.
absl::Status ValidateImage(const Image& image);

// InvalidArgument unless the picture has 1 to `max_pixels` pixels. Decoders call it as soon as they
// have read the header.
absl::Status CheckPixelLimit(int64_t width, int64_t height, int64_t max_pixels);

// `image` converted to `channels` channels: gray is repeated into red, green and blue, missing
// alpha becomes opaque, extra alpha is dropped.
Image WithChannels(const Image& image, int channels);

absl::StatusOr<std::string> EncodePng(const Image& image);
absl::StatusOr<Image> DecodePng(std::string_view bytes, int64_t max_pixels);

absl::StatusOr<std::string> EncodeJpeg(const Image& image);
// Turned upright: only libjpeg finds the Exif data behind stray bytes.
absl::StatusOr<Image> DecodeJpeg(std::string_view bytes, int64_t max_pixels);

absl::StatusOr<std::string> EncodeWebp(const Image& image);
absl::StatusOr<Image> DecodeWebp(std::string_view bytes, int64_t max_pixels);

// The frames have passed EncodeAnimation's checks.
absl::StatusOr<std::string> EncodeWebpAnimation(std::span<const Image> frames,
                                                int frame_milliseconds);
absl::StatusOr<std::string> EncodeGifAnimation(std::span<const Image> frames,
                                               int frame_milliseconds);

}  // namespace denoise
