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

// Every encoder is given an image that passed this: positive size, 1 to 4 channels, as many pixels
// as it says.
absl::Status ValidateImage(const Image& image);

// InvalidArgument unless width x height is at least one pixel and at most `max_pixels`. Decoders
// call it as soon as the header is known.
absl::Status CheckPixelLimit(int64_t width, int64_t height, int64_t max_pixels);

// `channels` values for every pixel of `image`: gray is repeated into red, green and blue, missing
// alpha is opaque, surplus alpha is dropped.
Image WithChannels(const Image& image, int channels);

absl::StatusOr<std::string> EncodePng(const Image& image);
absl::StatusOr<Image> DecodePng(std::string_view bytes, int64_t max_pixels);

absl::StatusOr<std::string> EncodeJpeg(const Image& image);
absl::StatusOr<Image> DecodeJpeg(std::string_view bytes, int64_t max_pixels);

absl::StatusOr<std::string> EncodeWebp(const Image& image);
absl::StatusOr<Image> DecodeWebp(std::string_view bytes, int64_t max_pixels);

// Both are given frames that passed EncodeAnimation's checks.
absl::StatusOr<std::string> EncodeWebpAnimation(std::span<const Image> frames,
                                                int frame_milliseconds);
absl::StatusOr<std::string> EncodeGifAnimation(std::span<const Image> frames,
                                               int frame_milliseconds);

}  // namespace denoise
