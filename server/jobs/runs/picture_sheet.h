// Samples as pictures of the contract.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "absl/status/statusor.h"
#include "core/image/image.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// The samples [B, C, H, W] in [-1, 1], C from 1 to 4, copied from their device.
std::vector<Image> ImagesOf(const at::Tensor& samples);

// The picture as PNG, shrunk until it fits into an event of a stream. Slow: not for a device's
// thread. InvalidArgument where it is no valid picture (EncodeImage).
absl::StatusOr<denoised::v1::Image> EncodePicture(Image picture);

// The same for a contact sheet of all of them, as square as possible.
absl::StatusOr<denoised::v1::Image> EncodeSheet(const std::vector<Image>& pictures);

}  // namespace denoise
