// What a trajectory starts from: noise, a picture, or where another one was.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <variant>

#include "core/diffusion/noise_source.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

// All tensors here are [C, H, W], contiguous float32 on the CPU, and finite.

// Noise of unit variance: what an image with this seed starts from, or as it is given.
using UnitNoise = std::variant<uint64_t, at::Tensor>;

// x = init_noise_scale * noise, where the noise is `from`, or lies `fraction` of the way from there
// to `to`; and then `variation` of the way from that to the image's own. All by Slerp.
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

// x is what it was in another run before the step that this plan begins with, as
// Trajectory::PictureOfX showed it. The noise of the steps before is drawn and left aside, so that a
// run with the same seed and no history goes on as the other one did.
struct FrameStart {
  at::Tensor frame;
};

using Start = std::variant<NoiseStart, PictureStart, FrameStart>;

// Slot 0 before the plan's first evaluation, [C, H, W] on the CPU. `source` is the image's, which is
// `inpainted` or not.
at::Tensor StartingState(const Start& start, const SamplerPlan& plan, bool inpainted,
                         NoiseSource& source, at::IntArrayRef shape);

// Along the great circle from `a` (fraction 0) to `b` (1): sin((1 - f) w) / sin(w) a + sin(f w) /
// sin(w) b, where w is the angle between them (Shoemake 1985). Unlike the straight line it keeps the
// deviation of noise. Straight where the two have (all but) one direction, or opposite ones.
at::Tensor Slerp(const at::Tensor& a, const at::Tensor& b, double fraction);

}  // namespace denoise
