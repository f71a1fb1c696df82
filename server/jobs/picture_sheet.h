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

// A contact sheet as PNG, `columns` wide; as square as it gets where that is 0. Shrunk until it fits
// into an event of a stream. Slow: not for a device's thread. InvalidArgument where the pictures are
// no sheet (ContactSheet).
absl::StatusOr<denoised::v1::Image> EncodeSheet(const std::vector<Image>& pictures,
                                                int columns = 0);

}  // namespace denoise
