#include "core/image/image.h"
#include "tests/fuzz/fuzz_target.h"

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t kMaxPixels = 1 << 16;
  const absl::StatusOr<Image> image = DecodeImage(AsText(data, size), kMaxPixels);
  if (!image.ok()) {
    Require(absl::IsInvalidArgument(image.status()), "a bad picture is INVALID_ARGUMENT");
    return 0;
  }
  Require(int64_t{image->width} * image->height <= kMaxPixels, "pictures are within the limit");
  // What was decoded can be encoded, and PNG keeps it as it is.
  const absl::StatusOr<std::string> png = EncodeImage(*image, ImageFormat::kPng);
  Require(png.ok(), "every decoded picture can be encoded");
  const absl::StatusOr<Image> again = DecodeImage(*png, kMaxPixels);
  Require(again.ok() && *again == *image, "PNG gives back what was put in");
  // And be made a model's.
  for (int channels : {1, 3}) {
    const absl::StatusOr<Image> sample = CropAndResize(Flatten(*image, channels), 8, 12);
    Require(
        sample.ok() && sample->channels == channels && sample->width == 8 && sample->height == 12,
        "every decoded picture can be resized");
  }
  return 0;
}

}  // namespace denoise
