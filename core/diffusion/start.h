// What a trajectory starts from: noise, a picture, or a frame of another run.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <variant>

#include "core/diffusion/noise_source.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

// All tensors here are [C, H, W], contiguous float32 on the CPU, and finite.

// Noise of unit variance: what an image with this seed starts from, or the tensor itself.
using UnitNoise = std::variant<uint64_t, at::Tensor>;

// x = init_noise_scale * noise. The noise is `from`, moved `fraction` of the way to `to` if there
// is one, then `variation` of the way to the image's own noise. Every move is a Slerp.
struct NoiseStart {
  std::optional<UnitNoise> from;  // absent: the image's own
  std::optional<UnitNoise> to;
  double fraction = 0;
  double variation = 0;
};

// x = alpha * picture + sigma * noise at the level of the plan's first evaluation, with the image's
// own noise (SDEdit, Meng et al. 2022). The picture is a sample in [-1, 1].
struct PictureStart {
  at::Tensor picture;
};

// x as it was in another run before the first step of this plan, the way Trajectory::PictureOfX
// showed it. The noise of the skipped steps is drawn and discarded, so that a run with the same
// seed and no history continues as the other one did.
struct FrameStart {
  at::Tensor frame;
  // Whether the frame is x itself: what a run that ended midway (RunOptions::denoising_end) left.
  bool is_x = false;
};

using Start = std::variant<NoiseStart, PictureStart, FrameStart>;

// Before the plan's first evaluation; both [C, H, W] on the CPU.
struct StartingState {
  at::Tensor x;  // slot 0
  at::Tensor
      noise;  // of unit variance: the noise in x, or, of a frame, in what its run started from
};

// `source` is the noise of the image; `draws_known` says whether each step of the run draws noise
// for the known part of an inpainting.
StartingState FindStartingState(const Start& start, const SamplerPlan& plan, bool draws_known,
                                NoiseSource& source, at::IntArrayRef shape);

// Interpolates along the great circle from `a` (fraction 0) to `b` (1): sin((1 - f) w) / sin(w) a +
// sin(f w) / sin(w) b, where w is the angle between them (Shoemake 1985). Unlike a straight line
// this keeps the standard deviation of noise. Nearly parallel or opposite vectors are interpolated
// along a straight line.
at::Tensor Slerp(const at::Tensor& a, const at::Tensor& b, double fraction);

}  // namespace denoise
