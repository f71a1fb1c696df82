// Images made offline, without a server or a queue: by one call, or one network call at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/device/device_runtime.h"
#include "core/diffusion/denoising_loop.h"
#include "core/diffusion/trajectory.h"
#include "core/nn/network.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

struct SampleRequest {
  uint64_t seed = 0;
  Conditioning conditioning;
  Start start = NoiseStart();
  std::optional<Inpainting> inpainting;
  std::optional<SampleShape> shape;  // absent: the network's own
};

// Makes `count` images in groups that run side by side, one network call at a time. Not
// thread-safe.
class SampleRun {
 public:
  // Image i is what `request(i)` asks for; all have one shape. A group has as many images as
  // `max_rows` rows of a network call allow, and at least one. `network` outlives the run.
  // `runtime` is one of its device; runs of one task share it.
  SampleRun(const Network& network, std::shared_ptr<DeviceRuntime> runtime,
            std::shared_ptr<const SamplerPlan> plan, int64_t count, int64_t max_rows,
            std::function<SampleRequest(int64_t)> request);

  bool done() const { return finished_ == count_; }
  int64_t finished() const { return finished_; }

  // Makes one network call. Returns the images of a group that it has finished, the next in order,
  // [B, C, H, W] float32 on the network's device and not clamped; an undefined tensor where none is
  // finished. Requires !done(). Throws what the network throws, and may then be called again.
  at::Tensor Advance();

 private:
  void BeginGroup();

  const Network& network_;
  const std::shared_ptr<DeviceRuntime> runtime_;
  const std::shared_ptr<const SamplerPlan> plan_;
  const int64_t count_;
  const int64_t max_rows_;
  const std::function<SampleRequest(int64_t)> request_;
  DenoisingLoop loop_;
  std::vector<Trajectory> group_;  // under way; all at the same evaluation
  int64_t finished_ = 0;
};

// One image per request, all in one batch: [requests, C, H, W] float32 on the network's device, not
// clamped. Makes a runtime for this call.
at::Tensor Sample(const Network& network, std::shared_ptr<const SamplerPlan> plan,
                  const std::vector<SampleRequest>& requests);

}  // namespace denoise
