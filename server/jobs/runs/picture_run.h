// Pictures made by a network, one network call at a time: the sample grids of training.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/device/device_runtime.h"
#include "core/diffusion/sample.h"
#include "core/nn/network.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

// What to make: picture i has `conditionings[i % size]` and the seed `seed + i`.
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
  // As many pictures at once as `max_rows`, at least 2, allow. `runtime` as for SampleRun.
  PictureRun(std::shared_ptr<const Network> network, std::shared_ptr<DeviceRuntime> runtime,
             const PictureOrder& order, int max_rows);

  bool done() const { return run_.done(); }

  // As SampleRun::Advance.
  at::Tensor RunSlice() { return run_.Advance(); }

 private:
  const std::shared_ptr<const Network> network_;
  SampleRun run_;
};

}  // namespace denoise
