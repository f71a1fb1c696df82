// What feature extractors do to pictures first.
#pragma once

#include <ATen/core/Tensor.h>

namespace denoise {

// `pictures` [B, C, H, W] averaged over areas so that neither side is longer than `longest` pixels,
// in about their proportions; unchanged where they are small already.
at::Tensor ShrinkPictures(const at::Tensor& pictures, int64_t longest);

// [B, 3, H, W]: gray is repeated.
at::Tensor AsRgb(const at::Tensor& pictures);

}  // namespace denoise
