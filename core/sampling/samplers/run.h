// Which part of a path a plan covers: all of it, its last steps, some steps repeatedly, or the way
// back.
//
// Starting from a picture leaves out the steps above its noise level (SDEdit, Meng et al. 2022).
// RePaint (Lugmayr et al. 2022) jumps back to noise along the way. DDIM inversion (Song et al.
// 2021, section 4.3) goes from a picture to the noise that would have produced it.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {

struct RunOptions {
  // The fraction of steps to take, counted from the end: min(floor(steps * strength), steps).
  double strength = 1;  // in (0, 1]
  int first_step = 0;   // steps left out at the start; only with a strength of 1

  // Where the run begins and ends, as parts of the schedule's T timesteps counted from noise: it
  // takes the steps whose timestep is below round(T * (1 - denoising_start)) and at least round(T *
  // (1 - denoising_end)). So two networks share one run (SDXL's refiner, Podell et al. 2023,
  // section 2.5): where the first ends, the second starts. Discrete variance-preserving schedules
  // only, without jumps; a denoising_start only with a strength of 1 and no first_step.
  double denoising_start = 0;  // in [0, 1)
  double denoising_end = 1;    // in (denoising_start, 1]

  // Whenever the number of remaining steps is a multiple of `jump_length`, go that many steps back
  // towards noise and take them again, until they have been taken `resamples` times (Lugmayr et al.
  // 2022, section 4.2).
  int jump_length = 1;
  int resamples = 1;

  bool inverted = false;  // from a picture to its noise; excludes the above

  int max_steps = 100000;  // including repeated ones
};

// Steps [first, last) of a path.
struct Segment {
  int first;
  int last;

  bool operator==(const Segment&) const = default;
};

// The steps of `path` between denoising_start and denoising_end, which are at least one.
// InvalidArgument names either. Requires a step for each move, and their timesteps below
// `num_train_timesteps`.
absl::StatusOr<Segment> PartBetween(const RunOptions& run, const NoisePath& path,
                                    int num_train_timesteps);

// The segments of a run over `steps` steps: at least one, and none empty. After each segment but
// the last, the run jumps back to the start of the next one. InvalidArgument names the member of
// RunOptions that is out of range, leaves nothing to do, or exceeds max_steps.
absl::StatusOr<std::vector<Segment>> LayOutRun(const RunOptions& run, int steps);

// Compiles the sampler along `segments` of `path`, each with an empty history at its start.
// Requires at least one segment and none empty. The jump between two segments adds the noise of
// q(x_earlier | x_later) (Ho et al. 2020, eq. 2) in the evaluation before it. InvalidArgument if
// that evaluation has learned noise, since a plan cannot represent the sum.
absl::StatusOr<SamplerPlan> CompileSegments(const NoisePath& path, const SamplerOptions& options,
                                            const std::vector<Segment>& segments);

// Compiles the path backwards: from a picture, at the path's end, to its noise, scaled such that a
// plan compiled along the path starts from init_noise_scale times the result. Every step inverts
// one of DDIM with eta 0; the round trip is exact to second order. Two slots; x0 is not clipped.
// InvalidArgument names the member of SamplerOptions: the sampler is neither DDIM nor Euler, or
// adds noise.
absl::StatusOr<SamplerPlan> CompileInversion(const NoisePath& path, const SamplerOptions& options);

}  // namespace denoise
