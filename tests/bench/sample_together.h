// Many trajectories, of any samplers and lengths, through one network in shared batches.
#pragma once

#include <functional>
#include <vector>

#include "core/diffusion/trajectory.h"
#include "core/nn/network.h"

namespace denoise {

// Runs all `trajectories` to their ends, up to `batch_size` of them a network call. `progress` hears
// after each call how many evaluations of how many are done.
void SampleTogether(const Network& network, std::vector<Trajectory>& trajectories, int batch_size,
                    const std::function<void(size_t done, size_t total)>& progress);

}  // namespace denoise
