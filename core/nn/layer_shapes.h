// What adapters need to know of a model before its weights are there.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace denoise {

// The shapes of the weights of the layers that an adapter can change, [out, in] or [out, in, k, k],
// by the names that layers have in checkpoints: "mid_block.resnets.0.conv1".
using LayerShapes = std::map<std::string, std::vector<int64_t>>;

}  // namespace denoise
