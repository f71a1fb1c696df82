// The codec of pixel models: x is the picture.
#pragma once

#include <cstdint>
#include <memory>

#include "core/codec/codec.h"

namespace denoise {

// Factor 1, no noise, no parameters. On the CPU in float32; To() only changes what device() and
// dtype() say.
std::shared_ptr<const Codec> IdentityCodec(int64_t channels);

}  // namespace denoise
