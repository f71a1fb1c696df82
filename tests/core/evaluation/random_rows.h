// Features with a known distribution.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>

#include <cstdint>

namespace denoise {

// Standard normal features [rows, dimensions].
inline at::Tensor NormalRows(int64_t rows, int64_t dimensions, uint64_t seed,
                             at::ScalarType dtype = at::kFloat) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn({rows, dimensions}, generator, at::TensorOptions().dtype(dtype));
}

}  // namespace denoise
