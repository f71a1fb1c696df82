// Pictures made by a network, a network call at a time: the sample grids of training, and what
// evaluations look at.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/diffusion/trajectory.h"
#include "core/nn/network.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

// What is to be made: picture i has `conditionings[i % size]` and the seed `seed + i`.
struct PictureOrder {
  std::shared_ptr<const SamplerPlan> plan;
  std::vector<Conditioning> conditionings;  // at least one
  uint64_t seed = 0;
  int count = 0;  // at least 1
};

// Conditionings that spread pictures over the classes of a network: each class in turn, without the
// null class, guided by `guidance_scale` where that is not 1.
std::vector<Conditioning> SpreadOverClasses(const NetworkSpec& network,
                                            std::optional<int64_t> null_class_label,
                                            double guidance_scale);

// Not thread-safe.
class PictureRun {
 public:
  // As many pictures at once as `max_rows`, at least 2, allow.
  PictureRun(std::shared_ptr<const Network> network, PictureOrder order, int max_rows);

  bool done() const { return next_ == order_.count && group_.empty(); }

  // One network call. Returns pictures that it has finished, the next in order, [B, C, H, W] float32
  // on the network's device; undefined where it has finished none. Requires !done(). Throws what the
  // network throws, and may then be called again.
  at::Tensor RunSlice();

 private:
  void BeginGroup();

  const std::shared_ptr<const Network> network_;
  const PictureOrder order_;
  const int max_rows_;
  std::vector<Trajectory> group_;  // under way, side by side
  int next_ = 0;                   // the first picture of the next group
};

}  // namespace denoise
