// One image on its way from x_T to x_0: its plan, its position, its state slots and its noise
// generator.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "core/base/check.h"
#include "core/device/device_runtime.h"
#include "core/diffusion/guidance.h"
#include "core/diffusion/noise_source.h"
#include "core/diffusion/start.h"
#include "core/nn/network.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

// Repaints a picture where a mask says so, and keeps the rest: at the end of every step x becomes
// mask * x + (1 - mask) * the picture at that noise level, with fresh noise each time (Lugmayr et
// al. 2022, section 4.1).
struct Inpainting {
  at::Tensor picture;  // [C, H, W] float32 in [-1, 1]
  at::Tensor mask;     // [1, H, W] float32 in [0, 1]; 1 where the picture is repainted
};

// Movable. Not thread-safe: one thread at a time owns it.
class Trajectory {
 public:
  // `plan` has at least one evaluation, and suits `start`. `network` gives the pictures' shape;
  // `runtime` is one of its device. Neither is kept. Does not wait for the device.
  Trajectory(std::shared_ptr<const SamplerPlan> plan, Conditioning conditioning, uint64_t seed,
             const Network& network, DeviceRuntime& runtime, const Start& start = NoiseStart(),
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
  bool KeepsKnown() const { return inpainting_.has_value() && next().ends_step; }
  // [1, H, W] on the network's device. Requires KeepsKnown().
  const at::Tensor& mask() const {
    DENOISE_DCHECK(KeepsKnown());
    return inpainting_->mask;
  }
  // The picture at the noise level after the next evaluation, [C, H, W] on the network's device.
  // Its noise is drawn once, after noise(): if the upload fails, another call has the same noise.
  // Does not wait for the device. Requires KeepsKnown().
  const at::Tensor& known(DeviceRuntime& runtime);

  // Moves past the next evaluation; `slots` replace the state and have its shape. Requires !done().
  void Advance(at::Tensor slots);

 private:
  std::shared_ptr<const SamplerPlan> plan_;
  Conditioning conditioning_;
  NoiseSource noise_source_;
  std::optional<Inpainting> inpainting_;  // on the network's device
  at::Tensor noise_;                      // of the next evaluation; undefined until asked for
  at::Tensor known_noise_;                // the same, on the CPU
  at::Tensor known_;                      // the same
  at::Tensor slots_;
  size_t position_ = 0;  // evaluations done
  int steps_done_ = 0;
};

}  // namespace denoise
