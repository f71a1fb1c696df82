#include "server/rpc/picture.h"

#include <bit>
#include <span>
#include <string>
#include <utility>

#include "core/base/status_macros.h"
#include "core/image/image.h"

namespace denoise {
namespace {

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

}  // namespace denoise
