// One image on its way from x_T to x_0: its plan, its position, its state slots and its noise
// generator.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "core/diffusion/guidance.h"
#include "core/diffusion/noise_source.h"
#include "core/diffusion/start.h"
#include "core/nn/network.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

// Makes a picture anew where a mask says so, and keeps it elsewhere: wherever a step ends, x becomes
// mask * x + (1 - mask) * the picture at that noise level, with noise of its own each time (Lugmayr et
// al. 2022, section 4.1).
struct Inpainting {
  at::Tensor picture;  // [C, H, W] float32 in [-1, 1]
  at::Tensor mask;     // [1, H, W] float32 in [0, 1]; 1 where the picture is made anew
};

// Movable. Not thread-safe: whoever evaluates it owns it meanwhile.
class Trajectory {
 public:
  // `plan` has at least one evaluation, and suits `start`; `network` is read for its shape and
  // device only, and gives the pictures' shape.
  Trajectory(std::shared_ptr<const SamplerPlan> plan, Conditioning conditioning, uint64_t seed,
             const Network& network, const Start& start = NoiseStart(),
             std::optional<Inpainting> inpainting = std::nullopt);

  bool done() const { return position_ == plan_->evaluations.size(); }
  const SamplerPlan& plan() const { return *plan_; }
  const Conditioning& conditioning() const { return conditioning_; }
  const Evaluation& next() const { return plan_->evaluations[position_]; }  // requires !done()
  const Evaluation& last() const {
    return plan_->evaluations[position_ - 1];
  }                                                            // requires an Advance before
  int rows() const { return NumRows(conditioning_, next()); }  // requires !done()
  int steps_done() const { return steps_done_; }

  // [K, C, H, W] float32 on the network's device, K as the plan says. May share its memory with the
  // trajectories that it was last evaluated with.
  const at::Tensor& slots() const { return slots_; }
  at::Tensor x() const { return slots_[0]; }  // [C, H, W]

  // x as a picture: where the sampler works in sigma space, scaled to what the network would be
  // shown.
  at::Tensor PictureOfX() const;

  // The noise that the next evaluation adds, [C, H, W] on the CPU. Drawn once: an evaluation that
  // failed and is tried again has the same noise. Requires AddsNoise(next()).
  const at::Tensor& noise();

  // Whether the next evaluation keeps the known part of an inpainted picture.
  bool KeepsKnown() const { return inpainting_.has_value() && next().ends_step; }
  // [1, H, W] on the network's device. Requires KeepsKnown().
  const at::Tensor& mask() const { return inpainting_->mask; }
  // The picture at the noise level after the next evaluation, [C, H, W] on the network's device. Its
  // noise is drawn once, after noise(). Requires KeepsKnown().
  const at::Tensor& known();

  // Moves past the next evaluation; `slots` replace the state.
  void Advance(at::Tensor slots);

 private:
  std::shared_ptr<const SamplerPlan> plan_;
  Conditioning conditioning_;
  NoiseSource noise_source_;
  std::optional<Inpainting> inpainting_;  // on the network's device
  at::Tensor noise_;                      // of the next evaluation; undefined until asked for
  at::Tensor known_;                      // the same
  at::Tensor slots_;
  size_t position_ = 0;  // evaluations done
  int steps_done_ = 0;
};

}  // namespace denoise
