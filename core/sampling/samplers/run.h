// What a plan covers of a path: all of it, its rest, some of it again and again, or the way back.
//
// Starting from a picture leaves out the steps above its noise level (SDEdit, Meng et al. 2022);
// RePaint (Lugmayr et al. 2022) jumps back to noise on the way; DDIM inversion (Song et al. 2021,
// section 4.3) walks from a picture to the noise that would have become it.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {

struct RunOptions {
  // The part of the steps that are taken, the last ones: min(floor(steps * strength), steps).
  double strength = 1;  // in (0, 1]
  int first_step = 0;   // steps that are left out; goes with a strength of 1 only

  // Whenever the steps still to go are a multiple of `jump_length`, go as many steps back towards
  // noise and take them again, until they have been taken `resamples` times (Lugmayr et al. 2022,
  // section 4.2).
  int jump_length = 1;
  int resamples = 1;

  bool inverted = false;  // from a picture to its noise; goes with none of the above

  int max_steps = 100000;  // with those taken again
};

// Steps [first, last) of a path, one after the other.
struct Segment {
  int first;
  int last;

  bool operator==(const Segment&) const = default;
};

// The segments of a run over `steps` steps, at least one and none empty; each but the last is
// followed by a jump back to where the next one starts. InvalidArgument names the member of
// RunOptions: out of range, nothing left to do, more than max_steps.
absl::StatusOr<std::vector<Segment>> LayOutRun(const RunOptions& run, int steps);

// The sampler along `segments` of `path`. Each begins with empty history. The jump between two adds
// the noise that q(x_earlier | x_later) has (Ho et al. 2020, eq. 2), in the evaluation before it.
// InvalidArgument where that adds learned noise: the sum of the two is of no kind that a plan has.
absl::StatusOr<SamplerPlan> CompileSegments(const NoisePath& path, const SamplerOptions& options,
                                            const std::vector<Segment>& segments);

// The path backwards: from a picture, at the path's end, to its noise, scaled so that a plan
// compiled along the path starts from init_noise_scale times the result. Every step undoes one of
// DDIM's with eta 0, so that the way there and back is exact to second order. Two slots; x0 is not
// clipped. InvalidArgument names the member of SamplerOptions: a sampler that is neither DDIM nor
// Euler, or one that adds noise.
absl::StatusOr<SamplerPlan> CompileInversion(const NoisePath& path, const SamplerOptions& options);

}  // namespace denoise
