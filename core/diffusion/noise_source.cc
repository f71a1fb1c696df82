#include "core/diffusion/noise_source.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randn.h>

namespace denoise {

NoiseSource::NoiseSource(uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {}

at::Tensor NoiseSource::Draw(at::IntArrayRef shape) {
  return at::randn(shape, generator_, at::TensorOptions().dtype(at::kFloat));
}

}  // namespace denoise
