#include "server/requests/picture.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/image/image.h"

namespace denoise {
namespace {

// Of raw samples from outside: above any use, below where float32 overflows on the way.
constexpr double kMostMagnitude = 1e6;

static_assert(std::endian::native == std::endian::little, "RAW_FLOAT32 is little-endian");

ImageFormat Format(denoised::v1::Encoding encoding) {
  switch (encoding) {
    case denoised::v1::ENCODING_JPEG:
      return ImageFormat::kJpeg;
    case denoised::v1::ENCODING_WEBP:
      return ImageFormat::kWebp;
    default:
      return ImageFormat::kPng;
  }
}

}  // namespace

absl::StatusOr<denoised::v1::Image> EncodeSample(const at::Tensor& sample,
                                                 denoised::v1::Encoding encoding) {
  const at::Tensor chw = sample.contiguous();
  const std::span<const float> values(chw.data_ptr<float>(), chw.numel());
  denoised::v1::Image picture;
  picture.set_encoding(encoding);
  picture.set_channels(static_cast<int32_t>(chw.size(0)));
  picture.set_height(static_cast<int32_t>(chw.size(1)));
  picture.set_width(static_cast<int32_t>(chw.size(2)));
  if (encoding == denoised::v1::ENCODING_RAW_FLOAT32) {
    picture.set_data(values.data(), values.size_bytes());
    return picture;
  }
  ASSIGN_OR_RETURN(std::string data, EncodeImage(ImageFromSample(values, picture.channels(),
                                                                 picture.height(), picture.width()),
                                                 Format(encoding)));
  picture.set_data(std::move(data));
  return picture;
}

bool EncodingHoldsChannels(denoised::v1::Encoding encoding, int64_t channels) {
  return encoding == denoised::v1::ENCODING_RAW_FLOAT32 || channels <= 4;
}

bool TakesPictures(const SampleShape& shape) { return shape.channels == 1 || shape.channels == 3; }

absl::StatusOr<at::Tensor> DecodePicture(const denoised::v1::InputImage& picture,
                                         const SampleShape& shape, int64_t max_pixels) {
  ASSIGN_OR_RETURN(const std::vector<float> values,
                   DecodeSample(picture.data(), max_pixels, static_cast<int>(shape.channels),
                                static_cast<int>(shape.height), static_cast<int>(shape.width)));
  return at::tensor(values).view({shape.channels, shape.height, shape.width});
}

absl::StatusOr<at::Tensor> DecodeMask(const denoised::v1::InputImage& mask,
                                      denoised::v1::MaskChannel channel, const SampleShape& shape,
                                      int64_t max_pixels) {
  const int height = static_cast<int>(shape.height), width = static_cast<int>(shape.width);
  ASSIGN_OR_RETURN(const std::vector<float> values,
                   channel == denoised::v1::MASK_CHANNEL_TRANSPARENCY
                       ? DecodeTransparency(mask.data(), max_pixels, height, width)
                       : DecodeSample(mask.data(), max_pixels, /*channels=*/1, height, width));
  return (at::tensor(values).view({1, height, width}) + 1) / 2;
}

absl::StatusOr<at::Tensor> DecodeRaw(const std::string& bytes, const SampleShape& shape) {
  const int64_t count = shape.channels * shape.height * shape.width;
  if (bytes.size() != count * sizeof(float)) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be ", shape.channels, " x ", shape.height, " x ", shape.width,
                     " values of float32, ", count * sizeof(float), " bytes; has ", bytes.size()));
  }
  const at::Tensor sample = at::empty({shape.channels, shape.height, shape.width}, at::kFloat);
  std::memcpy(sample.data_ptr<float>(), bytes.data(), bytes.size());
  const auto usable = [](float value) { return std::abs(value) <= kMostMagnitude; };  // no NaN is
  const float* values = sample.data_ptr<float>();
  if (!std::all_of(values, values + count, usable)) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be finite and at most ", kMostMagnitude, " in magnitude"));
  }
  return sample;
}

}  // namespace denoise
