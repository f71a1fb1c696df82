#include "core/diffusion/trajectory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <utility>

namespace denoise {

Trajectory::Trajectory(std::shared_ptr<const SamplerPlan> plan, Conditioning conditioning,
                       uint64_t seed, const Network& network, DeviceRuntime& runtime,
                       const Start& start, std::optional<Inpainting> inpainting)
    : plan_(std::move(plan)),
      conditioning_(std::move(conditioning)),
      noise_source_(seed),
      inpainting_(std::move(inpainting)) {
  DENOISE_DCHECK(plan_ != nullptr && !plan_->evaluations.empty());
  DENOISE_DCHECK(runtime.device() == network.device());
  const NetworkSpec& spec = network.spec();
  slots_ = at::zeros({plan_->slots, spec.in_channels, spec.height, spec.width},
                     at::TensorOptions().dtype(at::kFloat).device(network.device()));
  slots_[0].copy_(UploadCopy(
      StartingState(start, *plan_, inpainting_.has_value(), noise_source_, slots_.sizes().slice(1)),
      runtime));
  if (!inpainting_) return;
  DENOISE_DCHECK(inpainting_->picture.sizes() == slots_.sizes().slice(1));
  DENOISE_DCHECK(inpainting_->mask.sizes() == at::IntArrayRef({1, spec.height, spec.width}));
  inpainting_->picture = UploadCopy(inpainting_->picture, runtime);
  inpainting_->mask = UploadCopy(inpainting_->mask, runtime);
}

at::Tensor Trajectory::PictureOfX() const { return done() ? x() : x() * next().input_scale; }

const at::Tensor& Trajectory::noise() {
  DENOISE_DCHECK(AddsNoise(next()));
  if (!noise_.defined()) noise_ = noise_source_.Draw(slots_.sizes().slice(1));
  return noise_;
}

const at::Tensor& Trajectory::known(DeviceRuntime& runtime) {
  DENOISE_DCHECK(KeepsKnown());
  if (known_.defined()) return known_;
  const NoiseLevel level = plan_->LevelAfter(position_);
  at::Tensor known = inpainting_->picture * level.alpha;
  if (level.sigma != 0) {
    if (!known_noise_.defined()) known_noise_ = noise_source_.Draw(known.sizes());
    known += UploadCopy(known_noise_ * level.sigma, runtime);
  }
  known_ = std::move(known);  // complete: nothing can fail any more
  return known_;
}

void Trajectory::Advance(at::Tensor slots) {
  DENOISE_DCHECK(slots.sizes() == slots_.sizes());
  if (next().ends_step) ++steps_done_;
  slots_ = std::move(slots);
  noise_.reset();
  known_noise_.reset();
  known_.reset();
  ++position_;
}

}  // namespace denoise
