#include "core/evaluation/feature_extractor.h"

#include <ATen/ops/adaptive_avg_pool2d.h>

#include <algorithm>

namespace denoise {

at::Tensor ShrinkPictures(const at::Tensor& pictures, int64_t longest) {
  const int64_t height = pictures.size(2), width = pictures.size(3);
  const int64_t longer = std::max(height, width);
  if (longer <= longest) return pictures;
  const auto shrunk = [&](int64_t side) {
    return std::max<int64_t>(1, (side * longest + longer / 2) / longer);
  };
  return at::adaptive_avg_pool2d(pictures, {shrunk(height), shrunk(width)});
}

at::Tensor AsRgb(const at::Tensor& pictures) {
  return pictures.size(1) == 3 ? pictures : pictures.expand({-1, 3, -1, -1});
}

}  // namespace denoise
