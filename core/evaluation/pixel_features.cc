#include "core/evaluation/pixel_features.h"

#include "core/evaluation/picture_tensors.h"

namespace denoise {
namespace {

constexpr int64_t kLongestSide = 16;

}  // namespace

at::Tensor PixelFeatures::Extract(const at::Tensor& pictures) const {
  return ShrinkPictures(pictures, kLongestSide).flatten(1);
}

std::shared_ptr<const FeatureExtractor> PixelFeatures::To(at::Device) const {
  return std::make_shared<PixelFeatures>();
}

}  // namespace denoise
