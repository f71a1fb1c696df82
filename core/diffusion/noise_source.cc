#include "core/diffusion/noise_source.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randn.h>

#include <utility>

#include "core/base/check.h"

namespace denoise {

NoiseSource::NoiseSource(uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {}

at::Tensor NoiseSource::Draw(at::IntArrayRef shape) {
  if (put_back_.defined()) {
    DENOISE_DCHECK(put_back_.sizes() == shape);
    return std::exchange(put_back_, at::Tensor());
  }
  return at::randn(shape, generator_, at::TensorOptions().dtype(at::kFloat));
}

void NoiseSource::PutBack(at::Tensor noise) {
  DENOISE_DCHECK(!put_back_.defined());
  put_back_ = std::move(noise);
}

}  // namespace denoise
