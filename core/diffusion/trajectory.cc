#include "core/diffusion/trajectory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <utility>

namespace denoise {

Trajectory::Trajectory(std::shared_ptr<const SamplerPlan> plan, Conditioning conditioning,
                       uint64_t seed, const Network& network, const Start& start,
                       std::optional<Inpainting> inpainting)
    : plan_(std::move(plan)),
      conditioning_(std::move(conditioning)),
      noise_source_(seed),
      inpainting_(std::move(inpainting)) {
  const NetworkSpec& spec = network.spec();
  slots_ = at::zeros({plan_->slots, spec.in_channels, spec.height, spec.width},
                     at::TensorOptions().dtype(at::kFloat).device(network.device()));
  slots_[0].copy_(StartingState(start, *plan_, inpainting_.has_value(), noise_source_,
                                slots_.sizes().slice(1)));
  if (!inpainting_) return;
  inpainting_->picture = inpainting_->picture.to(network.device());
  inpainting_->mask = inpainting_->mask.to(network.device());
}

at::Tensor Trajectory::PictureOfX() const { return done() ? x() : x() * next().input_scale; }

const at::Tensor& Trajectory::noise() {
  DENOISE_DCHECK(AddsNoise(next()));
  if (!noise_.defined()) noise_ = noise_source_.Draw(slots_.sizes().slice(1));
  return noise_;
}

const at::Tensor& Trajectory::known() {
  DENOISE_DCHECK(KeepsKnown());
  if (known_.defined()) return known_;
  const NoiseLevel level = plan_->LevelAfter(position_);
  known_ = inpainting_->picture * level.alpha;
  if (level.sigma != 0) {
    known_ += (noise_source_.Draw(known_.sizes()) * level.sigma).to(known_.device());
  }
  return known_;
}

void Trajectory::Advance(at::Tensor slots) {
  slots_ = std::move(slots);
  noise_.reset();
  known_.reset();
  if (next().ends_step) ++steps_done_;
  ++position_;
}

}  // namespace denoise
