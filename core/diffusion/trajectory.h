// One image on its way from x_T to x_0: its plan, its position, its state slots and its noise
// generator.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "core/diffusion/guidance.h"
#include "core/nn/network.h"
#include "core/sampling/plan.h"

namespace denoise {

// Standard normal noise for one image, from a CPU generator seeded with `seed`: contiguous float32
// in CHW order, the initial noise first and then one draw per noisy step, so that the same seed
// gives the same image as a per-image torch.Generator does in Python, whatever the device. (As
// there, the generator reads the low 32 bits of the seed.)
class NoiseSource {
 public:
  explicit NoiseSource(uint64_t seed);
  at::Tensor Draw(at::IntArrayRef shape);  // on the CPU

 private:
  at::Generator generator_;
};

// Movable. Not thread-safe: whoever evaluates it owns it meanwhile.
class Trajectory {
 public:
  // Draws the initial noise. `plan` has at least one evaluation; `network` is read for its shape
  // and device only.
  Trajectory(std::shared_ptr<const SamplerPlan> plan, Conditioning conditioning, uint64_t seed,
             const Network& network);

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

  // Moves past the next evaluation; `slots` replace the state.
  void Advance(at::Tensor slots);

 private:
  std::shared_ptr<const SamplerPlan> plan_;
  Conditioning conditioning_;
  NoiseSource noise_source_;
  at::Tensor noise_;  // of the next evaluation; undefined until asked for
  at::Tensor slots_;
  size_t position_ = 0;  // evaluations done
  int steps_done_ = 0;
};

}  // namespace denoise
