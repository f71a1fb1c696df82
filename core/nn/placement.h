// Where a network, a codec or a text encoder is, and what it computes in.
#pragma once

#include <ATen/core/Tensor.h>

namespace denoise {

struct Placement {
  at::Device device = at::Device(at::kCPU);
  at::ScalarType dtype = at::kFloat;
};

}  // namespace denoise
