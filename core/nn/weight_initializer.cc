#include "core/nn/weight_initializer.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <c10/util/accumulate.h>

#include "core/base/status_macros.h"

namespace denoise::nn {
namespace {

at::Tensor Draw(at::IntArrayRef shape, Initial initial, at::Generator& generator) {
  switch (initial.kind) {
    case Initial::Kind::kConstant:
      return at::full(shape, initial.scale, at::kFloat);
    case Initial::Kind::kUniform:
      // Draws from [0, 1) have 24 bits. A product and a difference are rounded the same way
      // everywhere; a fused multiply-add would not be.
      return at::rand(shape, generator, at::kFloat).mul_(2 * initial.scale).sub_(initial.scale);
    case Initial::Kind::kNormal:
      // In float32 the underlying logarithm and cosine depend on the machine's vector instructions.
      return at::randn(shape, generator, at::kDouble).mul_(initial.scale).to(at::kFloat);
  }
  return {};
}

}  // namespace

at::Tensor WeightInitializer::Take(const std::vector<std::string>& names, at::IntArrayRef shape,
                                   Initial initial) {
  specs_.insert({names.front(), {shape.vec(), initial}});
  return {};
}

int64_t WeightInitializer::count() const {
  int64_t count = 0;
  for (const auto& [name, spec] : specs_) count += c10::multiply_integers(spec.shape);
  return count;
}

std::map<std::string, std::vector<int64_t>> WeightInitializer::Shapes() const {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& [name, spec] : specs_) shapes[name] = spec.shape;
  return shapes;
}

StateDict WeightInitializer::Make(uint64_t seed) const {
  StateDict weights;
  MakeEach(seed, [&](const std::string& name, const at::Tensor& tensor) {
    weights[name] = tensor;
    return absl::OkStatus();
  }).IgnoreError();
  return weights;
}

absl::Status WeightInitializer::MakeEach(uint64_t seed, const UseTensor& use) const {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  for (const auto& [name, spec] : specs_) {
    RETURN_IF_ERROR(use(name, Draw(spec.shape, spec.initial, generator)));
  }
  return absl::OkStatus();
}

}  // namespace denoise::nn
