#include "core/diffusion/trajectory.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <utility>

namespace denoise {

NoiseSource::NoiseSource(uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {}

at::Tensor NoiseSource::Draw(at::IntArrayRef shape) {
  return at::randn(shape, generator_, at::TensorOptions().dtype(at::kFloat));
}

Trajectory::Trajectory(std::shared_ptr<const SamplerPlan> plan, Conditioning conditioning,
                       uint64_t seed, const Network& network)
    : plan_(std::move(plan)), conditioning_(std::move(conditioning)), noise_source_(seed) {
  const NetworkSpec& spec = network.spec();
  slots_ = at::zeros({plan_->slots, spec.in_channels, spec.height, spec.width},
                     at::TensorOptions().dtype(at::kFloat).device(network.device()));
  slots_[0].copy_(noise_source_.Draw({spec.in_channels, spec.height, spec.width}) *
                  plan_->init_noise_scale);
}

at::Tensor Trajectory::PictureOfX() const { return done() ? x() : x() * next().input_scale; }

const at::Tensor& Trajectory::noise() {
  if (!noise_.defined()) noise_ = noise_source_.Draw(slots_.sizes().slice(1));
  return noise_;
}

void Trajectory::Advance(at::Tensor slots) {
  slots_ = std::move(slots);
  noise_.reset();
  if (next().ends_step) ++steps_done_;
  ++position_;
}

}  // namespace denoise
