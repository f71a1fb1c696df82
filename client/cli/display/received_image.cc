#include "client/cli/display/received_image.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr int64_t kMostPixels = int64_t{64} << 20;
constexpr int kMostChannels = 4;

absl::StatusOr<ReceivedImage> ReceiveRaw(const v1::Image& image) {
  const int64_t channels = image.channels(), height = image.height(), width = image.width();
  if (channels < 1 || channels > kMostChannels || height < 1 || width < 1 ||
      height > kMostPixels / width ||
      image.data().size() != sizeof(float) * channels * height * width) {
    return absl::InternalError(absl::StrCat("the server sent a raw image of ", channels, " x ",
                                            height, " x ", width, " in ", image.data().size(),
                                            " bytes"));
  }
  std::vector<float> sample(channels * height * width);
  std::memcpy(sample.data(), image.data().data(), image.data().size());
  const int64_t shape[] = {channels, height, width};
  return ReceivedImage{ImageFromSample(sample, image.channels(), image.height(), image.width()),
                       "npy", EncodeNpy(sample, shape)};
}

absl::StatusOr<ReceivedImage> ReceiveEncoded(const v1::Image& image, const char* extension) {
  absl::StatusOr<Image> pixels = DecodeImage(image.data(), kMostPixels);
  if (pixels.ok()) return ReceivedImage{*std::move(pixels), extension, image.data()};
  return absl::InternalError(
      absl::StrCat("the server sent a broken ", extension, " image: ", pixels.status().message()));
}

}  // namespace

absl::StatusOr<ReceivedImage> ReceiveImage(const v1::Image& image) {
  switch (image.encoding()) {
    case v1::ENCODING_PNG:
      return ReceiveEncoded(image, "png");
    case v1::ENCODING_JPEG:
      return ReceiveEncoded(image, "jpg");
    case v1::ENCODING_WEBP:
      return ReceiveEncoded(image, "webp");
    case v1::ENCODING_RAW_FLOAT32:
      return ReceiveRaw(image);
    default:
      return absl::InternalError("the server sent an image in an encoding unknown to this client");
  }
}

}  // namespace denoise
