#include "core/diffusion/trajectory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace denoise {

absl::Status CheckSnapshot(const TrajectorySnapshot& snapshot, const SamplerPlan& plan,
                           const SampleShape& shape) {
  const int evaluations = static_cast<int>(plan.evaluations.size());
  if (snapshot.evaluations_done < 0 || snapshot.evaluations_done > evaluations) {
    return absl::InvalidArgumentError(absl::StrCat("evaluations_done must be between 0 and ",
                                                   evaluations, ", is ",
                                                   snapshot.evaluations_done));
  }
  const std::vector<int64_t> sizes = {plan.slots, shape.channels, shape.height, shape.width};
  if (snapshot.slots.sizes() != sizes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the slots must have the shape [", absl::StrJoin(sizes, ", "), "], have [",
                     absl::StrJoin(snapshot.slots.sizes(), ", "), "]"));
  }
  if (!at::isfinite(snapshot.slots).all().item<bool>()) {
    return absl::InvalidArgumentError("the slots hold values that are not finite");
  }
  return absl::OkStatus();
}

Trajectory::Trajectory(std::shared_ptr<const SamplerPlan> plan, Conditioning conditioning,
                       NoiseSource noise, const SampleShape& shape, DeviceRuntime& runtime,
                       const Start& start, std::optional<Inpainting> inpainting)
    : plan_(std::move(plan)),
      conditioning_(std::move(conditioning)),
      shape_(shape),
      noise_source_(std::move(noise)),
      inpainting_(std::move(inpainting)) {
  DENOISE_DCHECK(plan_ != nullptr && !plan_->evaluations.empty());
  slots_ = at::zeros({plan_->slots, shape.channels, shape.height, shape.width},
                     at::TensorOptions().dtype(at::kFloat).device(runtime.device()));
  const bool fresh_noise = inpainting_.has_value() && inpainting_->fresh_noise;
  const StartingState first =
      FindStartingState(start, *plan_, fresh_noise, noise_source_, slots_.sizes().slice(1));
  slots_[0].copy_(UploadCopy(first.x, runtime));
  if (!inpainting_) return;
  if (!fresh_noise) known_noise_ = first.noise;
  DENOISE_DCHECK(inpainting_->picture.sizes() == slots_.sizes().slice(1));
  DENOISE_DCHECK(inpainting_->mask.sizes() == at::IntArrayRef({1, shape.height, shape.width}));
  inpainting_->picture = UploadCopy(inpainting_->picture, runtime);
  inpainting_->mask = UploadCopy(inpainting_->mask, runtime);
}

at::Tensor Trajectory::PictureOfX() const { return done() ? x() : x() * next().input_scale; }

const at::Tensor& Trajectory::noise() {
  DENOISE_DCHECK(AddsNoise(next()));
  if (!noise_.defined()) noise_ = noise_source_.Draw(slots_.sizes().slice(1));
  return noise_;
}

NoiseLevel Trajectory::KnownLevel() const {
  const bool last = position_ + 1 == plan_->evaluations.size();
  return last && !inpainting_->fresh_noise ? NoiseLevel{1, 0} : plan_->LevelAfter(position_);
}

const at::Tensor& Trajectory::known_noise() {
  if (!known_noise_.defined()) known_noise_ = noise_source_.Draw(slots_.sizes().slice(1));
  return known_noise_;
}

const at::Tensor& Trajectory::known(DeviceRuntime& runtime) {
  DENOISE_DCHECK(KeepsKnown());
  if (known_.defined()) return known_;
  const NoiseLevel level = KnownLevel();
  at::Tensor known = inpainting_->picture * level.alpha;
  if (level.sigma != 0) known += UploadCopy(known_noise() * level.sigma, runtime);
  known_ = std::move(known);  // complete: nothing can fail any more
  return known_;
}

void Trajectory::Advance(at::Tensor slots) {
  DENOISE_DCHECK(slots.sizes() == slots_.sizes());
  if (next().ends_step) ++steps_done_;
  slots_ = std::move(slots);
  noise_.reset();
  if (inpainting_.has_value() && inpainting_->fresh_noise) known_noise_.reset();
  known_.reset();
  ++position_;
}

TrajectorySnapshot Trajectory::Snapshot() const {
  return {.evaluations_done = evaluations_done(),
          .slots = slots_.to(at::TensorOptions().device(at::kCPU), /*non_blocking=*/false,
                             /*copy=*/true, at::MemoryFormat::Contiguous)};
}

void Trajectory::DrawNoise() {
  if (AddsNoise(next())) noise();
  if (KeepsKnown() && KnownLevel().sigma != 0) known_noise();
}

void Trajectory::Continue(const TrajectorySnapshot& snapshot, DeviceRuntime& runtime) {
  DENOISE_DCHECK(position_ == 0 && CheckSnapshot(snapshot, *plan_, shape_).ok());
  while (evaluations_done() < snapshot.evaluations_done) {
    DrawNoise();
    Advance(slots_);
  }
  slots_ = UploadCopy(snapshot.slots, runtime);
}

}  // namespace denoise
