// Many trajectories, of any samplers and lengths, through one network in shared batches.
#pragma once

#include <functional>
#include <vector>

#include "core/diffusion/trajectory.h"
#include "core/nn/network.h"

namespace denoise {

// Runs all `trajectories` to their ends, up to `batch_size` of them per network call. `progress` is
// called after each one with the numbers of evaluations done and in total.
void SampleTogether(const Network& network, std::vector<Trajectory>& trajectories, int batch_size,
                    const std::function<void(size_t done, size_t total)>& progress);

}  // namespace denoise
