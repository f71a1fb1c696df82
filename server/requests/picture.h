// Samples to pictures on the wire, and back.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/nn/network.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// `sample` is [C, H, W] float32 on the CPU; `encoding` is not UNSPECIFIED. InvalidArgument where
// the encoding cannot hold it. Slow: runs on a WorkPool.
absl::StatusOr<denoised::v1::Image> EncodeSample(const at::Tensor& sample,
                                                 denoised::v1::Encoding encoding);

// Whether pictures of this many channels can be had in `encoding`; RAW_FLOAT32 takes any.
bool EncodingHoldsChannels(denoised::v1::Encoding encoding, int64_t channels);

// Whether pictures from outside can be samples of this shape: of 1 or 3 channels.
bool TakesPictures(const SampleShape& shape);

// The sample of a picture from outside, [C, H, W] float32 on the CPU, where TakesPictures(shape).
// InvalidArgument for one that cannot be decoded or has more than `max_pixels`. Slow: runs on a
// WorkPool.
absl::StatusOr<at::Tensor> DecodePicture(const denoised::v1::InputImage& picture,
                                         const SampleShape& shape, int64_t max_pixels);

// The mask of a picture of this size, [1, H, W] in [0, 1], which is 1 where the picture is
// replaced. InvalidArgument as above, or for one without the channel that selects. Slow, too.
absl::StatusOr<at::Tensor> DecodeMask(const denoised::v1::InputImage& mask,
                                      denoised::v1::MaskChannel channel, const SampleShape& shape,
                                      int64_t max_pixels);

// A sample as RAW_FLOAT32 holds it. InvalidArgument for another size, or values that are
// not finite or beyond 1e6.
absl::StatusOr<at::Tensor> DecodeRaw(const std::string& bytes, const SampleShape& shape);

}  // namespace denoise
