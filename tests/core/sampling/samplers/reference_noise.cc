#include "tests/core/sampling/samplers/reference_noise.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>

namespace denoise {

struct ReferenceNoise::Generator {
  at::Generator value;
};

ReferenceNoise::ReferenceNoise(uint64_t seed)
    : generator_(new Generator{at::detail::createCPUGenerator(seed)}) {}

ReferenceNoise::~ReferenceNoise() = default;

std::vector<double> ReferenceNoise::Draw() {
  const at::Tensor noise = at::randn({4, 3, 8, 8}, generator_->value, at::kFloat).contiguous();
  const float* data = noise.data_ptr<float>();
  return {data, data + noise.numel()};
}

}  // namespace denoise
