#include "server/jobs/runs/picture_sheet.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr int kPadding = 1;
// An event with it stays below gRPC's default limit of 4 MiB for received messages.
constexpr size_t kMaxPictureBytes = 3 << 20;

int SquareColumns(size_t pictures) {
  return static_cast<int>(std::ceil(std::sqrt(static_cast<double>(pictures))));
}

absl::StatusOr<Image> Halve(const Image& image) {
  const Image flat = Flatten(image, image.channels <= 2 ? 1 : 3);
  return CropAndResize(flat, std::max(flat.width / 2, 1), std::max(flat.height / 2, 1));
}

}  // namespace

std::vector<Image> ImagesOf(const at::Tensor& samples) {
  const at::Tensor on_cpu = samples.to(at::kCPU, at::kFloat).contiguous();
  const int channels = static_cast<int>(on_cpu.size(1));
  const int height = static_cast<int>(on_cpu.size(2));
  const int width = static_cast<int>(on_cpu.size(3));
  std::vector<Image> images;
  for (int64_t i = 0; i < on_cpu.size(0); ++i) {
    const at::Tensor sample = on_cpu[i];
    images.push_back(ImageFromSample(
        {sample.data_ptr<float>(), static_cast<size_t>(sample.numel())}, channels, height, width));
  }
  return images;
}

absl::StatusOr<denoised::v1::Image> EncodePicture(Image picture) {
  ASSIGN_OR_RETURN(std::string png, EncodeImage(picture, ImageFormat::kPng));
  while (png.size() > kMaxPictureBytes) {
    ASSIGN_OR_RETURN(picture, Halve(picture));
    ASSIGN_OR_RETURN(png, EncodeImage(picture, ImageFormat::kPng));
  }
  denoised::v1::Image image;
  image.set_data(std::move(png));
  image.set_encoding(denoised::v1::ENCODING_PNG);
  image.set_channels(picture.channels);
  image.set_height(picture.height);
  image.set_width(picture.width);
  return image;
}

absl::StatusOr<denoised::v1::Image> EncodeSheet(const std::vector<Image>& pictures) {
  ASSIGN_OR_RETURN(Image sheet,
                   ContactSheet(pictures, SquareColumns(pictures.size()), kPadding, /*scale=*/1));
  return EncodePicture(std::move(sheet));
}

}  // namespace denoise
