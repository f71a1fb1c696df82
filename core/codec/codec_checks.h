// Checks of what a codec is given. They throw c10::Error.
#pragma once

#include <ATen/core/Tensor.h>

#include "core/codec/codec.h"

namespace denoise {

// Throws unless `pictures` and `noise` (which may be undefined) can be encoded.
void CheckPictures(const CodecSpec& spec, const at::Tensor& pictures, const at::Tensor& noise);

// Throws unless `latents` can be decoded.
void CheckLatents(const CodecSpec& spec, const at::Tensor& latents);

}  // namespace denoise
