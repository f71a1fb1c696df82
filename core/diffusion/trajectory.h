// One image on its way from x_T to x_0: its plan, its position, its state slots and its noise
// generator.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "core/base/check.h"
#include "core/device/device_runtime.h"
#include "core/diffusion/guidance.h"
#include "core/diffusion/noise_source.h"
#include "core/diffusion/start.h"
#include "core/nn/network.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

// Repaints a picture where a mask says so, and keeps the rest: on the way x becomes mask * x + (1 -
// mask) * the picture at that noise level.
struct Inpainting {
  at::Tensor picture;  // [C, H, W] float32; in [-1, 1] unless it is latents
  at::Tensor mask;     // [1, H, W] float32 in [0, 1]; 1 where the picture is repainted
  // True: at the end of every step, with fresh noise each time (Lugmayr et al. 2022, section 4.1).
  // False: after every evaluation, with the noise that the image starts from, and without any after
  // the last one; so do the library's pipelines for latents.
  bool fresh_noise = true;
};

// Where a trajectory stands. A trajectory made of the same plan, conditioning, seed, start and
// inpainting continues from it with the same bits: which noise has been drawn until then follows
// from the plan.
struct TrajectorySnapshot {
  int evaluations_done = 0;
  at::Tensor slots;  // [K, C, H, W] contiguous float32 on the CPU
};

// Whether `snapshot` can be one of a trajectory of `plan` whose x has `shape`. InvalidArgument
// where the position is beyond the plan, or the slots have another shape or are not finite.
absl::Status CheckSnapshot(const TrajectorySnapshot& snapshot, const SamplerPlan& plan,
                           const SampleShape& shape);

// Movable. Not thread-safe: one thread at a time owns it.
class Trajectory {
 public:
  // `plan` has at least one evaluation, and suits `start`. `shape` is that of x, and those of the
  // start and the inpainting. `runtime` is one of the network's device, and is not kept. Does not
  // wait for the device. `noise` is a seed, or the source of an image that has drawn from it.
  Trajectory(std::shared_ptr<const SamplerPlan> plan, Conditioning conditioning, NoiseSource noise,
             const SampleShape& shape, DeviceRuntime& runtime, const Start& start = NoiseStart(),
             std::optional<Inpainting> inpainting = std::nullopt);

  bool done() const { return position_ == plan_->evaluations.size(); }
  const SamplerPlan& plan() const { return *plan_; }
  const Conditioning& conditioning() const { return conditioning_; }
  const Evaluation& next() const {  // requires !done()
    DENOISE_DCHECK(!done());
    return plan_->evaluations[position_];
  }
  const Evaluation& last() const {  // requires an Advance before
    DENOISE_DCHECK(position_ > 0);
    return plan_->evaluations[position_ - 1];
  }
  int rows() const { return NumRows(conditioning_, next()); }  // requires !done()
  int steps_done() const { return steps_done_; }
  int evaluations_done() const { return static_cast<int>(position_); }
  const SampleShape& shape() const { return shape_; }

  // [K, C, H, W] float32 on the network's device, where K is the plan's. May share memory with the
  // trajectories of the last batch.
  const at::Tensor& slots() const { return slots_; }
  at::Tensor x() const { return slots_[0]; }  // [C, H, W]

  // x as a picture: scaled as the network's input is, where the sampler works in sigma space.
  at::Tensor PictureOfX() const;

  // The noise that the next evaluation adds, [C, H, W] on the CPU. Drawn once: an evaluation that
  // failed and is tried again has the same noise. Requires AddsNoise(next()).
  const at::Tensor& noise();

  // Whether the next evaluation keeps the known part of an inpainted picture. Requires !done().
  bool KeepsKnown() const {
    return inpainting_.has_value() && (next().ends_step || !inpainting_->fresh_noise);
  }
  // [1, H, W] on the network's device. Requires KeepsKnown().
  const at::Tensor& mask() const {
    DENOISE_DCHECK(KeepsKnown());
    return inpainting_->mask;
  }
  // The picture at the noise level after the next evaluation, [C, H, W] on the network's device.
  // Fresh noise is drawn once, after noise(): if the upload fails, another call has the same noise.
  // Does not wait for the device. Requires KeepsKnown().
  const at::Tensor& known(DeviceRuntime& runtime);

  // Moves past the next evaluation; `slots` replace the state and have its shape. Requires !done().
  void Advance(at::Tensor slots);

  // Waits for the device.
  TrajectorySnapshot Snapshot() const;
  // Moves to where `snapshot` was taken, of which CheckSnapshot holds. Draws and discards the noise
  // of the evaluations until there. Does not wait for the device. Requires evaluations_done() == 0.
  void Continue(const TrajectorySnapshot& snapshot, DeviceRuntime& runtime);

 private:
  NoiseLevel KnownLevel() const;    // after the next evaluation
  const at::Tensor& known_noise();  // of the known part at that level, [C, H, W] on the CPU
  void DrawNoise();                 // all that the next evaluation takes, in its order

  std::shared_ptr<const SamplerPlan> plan_;
  Conditioning conditioning_;
  SampleShape shape_;
  NoiseSource noise_source_;
  std::optional<Inpainting> inpainting_;  // on the network's device
  at::Tensor noise_;                      // of the next evaluation; undefined until asked for
  at::Tensor known_noise_;                // on the CPU: the same, or the first where it is kept
  at::Tensor known_;                      // of the next evaluation
  at::Tensor slots_;
  size_t position_ = 0;  // evaluations done
  int steps_done_ = 0;
};

}  // namespace denoise
