// The forward process, frame by frame: a picture that turns into noise.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/diffusion/forward_process.h"
#include "core/diffusion/trajectory.h"

namespace denoise {

enum class NoisingMode {
  kClosedForm,  // q(x_t | x_0), with one epsilon for all frames
  kStepByStep,  // q(x_t | x_s) from each stop to the next, with fresh noise at each
};

// A timestep of the forward process.
struct NoisingStop {
  double timestep;
  bool shown;  // has a frame

  bool operator==(const NoisingStop&) const = default;
};

// Returns the stops of a run with frames at `timesteps`, of which there is at least one, each
// noisier than the one before. A step-by-step run through a discrete schedule stops at every whole
// timestep from 0 to the last one.
std::vector<NoisingStop> LayOutNoising(const Schedule& schedule,
                                       const std::vector<double>& timesteps, NoisingMode mode);

// Returns `count` evenly spaced timesteps that end at the schedule's noisiest. A discrete schedule
// has whole timesteps only, so there may be fewer.
std::vector<double> EvenTimesteps(const Schedule& schedule, int count);

// Movable. Not thread-safe. Either mode draws from the seed's generator as a Trajectory does.
class Noising {
 public:
  // `x0` is [C, H, W] float32 on the CPU; `process` outlives the noising.
  Noising(const ForwardProcess* process, at::Tensor x0, uint64_t seed, NoisingMode mode);

  // x_t at `timestep`, which is noisier than the one before. [C, H, W].
  at::Tensor Step(double timestep);

 private:
  const ForwardProcess* process_;
  NoisingMode mode_;
  NoiseSource noise_source_;
  at::Tensor x_;        // of the last stop; x_0 before the first, and in closed form
  at::Tensor epsilon_;  // closed form, drawn once
  double timestep_;     // of x_
};

}  // namespace denoise
