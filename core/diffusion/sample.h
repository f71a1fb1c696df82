// The denoising loop offline: no server, no queue.
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

struct SampleRequest {
  uint64_t seed;
  Conditioning conditioning;
  Start start = NoiseStart();
  std::optional<Inpainting> inpainting;
};

// One image per request, all in one batch: [requests, C, H, W] float32 on the network's device, not
// clamped.
at::Tensor Sample(const Network& network, std::shared_ptr<const SamplerPlan> plan,
                  const std::vector<SampleRequest>& requests);

}  // namespace denoise
