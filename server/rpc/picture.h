// Samples to pictures on the wire.
#pragma once

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// `sample` is [C, H, W] float32 on the CPU; `encoding` is not UNSPECIFIED. InvalidArgument where
// the encoding cannot hold it. Slow: runs on an EncoderPool.
absl::StatusOr<denoised::v1::Image> EncodeSample(const at::Tensor& sample,
                                                 denoised::v1::Encoding encoding);

// Whether pictures of this many channels can be had in `encoding`; RAW_FLOAT32 takes any.
bool EncodingHoldsChannels(denoised::v1::Encoding encoding, int64_t channels);

}  // namespace denoise
