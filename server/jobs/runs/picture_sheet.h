// Samples as one picture on the wire.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "absl/status/statusor.h"
#include "core/image/image.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// Of samples [B, C, H, W] in [-1, 1], C from 1 to 4, copied from their device.
std::vector<Image> ImagesOf(const at::Tensor& samples);

// As PNG, shrunk until it fits into an event of a stream. Slow: not for a device's thread.
// InvalidArgument where it is no picture (EncodeImage).
absl::StatusOr<denoised::v1::Image> EncodePicture(Image picture);

// A contact sheet of all of them, as square as it gets, likewise.
absl::StatusOr<denoised::v1::Image> EncodeSheet(const std::vector<Image>& pictures);

}  // namespace denoise
