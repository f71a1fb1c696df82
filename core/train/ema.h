// Exponential moving averages of weights, which sample better than the weights themselves.
#pragma once

#include <cstdint>

#include "core/nn/state_dict.h"

namespace denoise {

// min(decay, (1 + n) / (10 + n)), where n updates came before: early averages forget the random
// weights that training began with.
double EmaDecayAt(double decay, int64_t n);

// average = d average + (1 - d) weights, in place, with d = EmaDecayAt(decay, n). Both have the same
// names; to be called without gradients being recorded.
void UpdateEma(double decay, int64_t n, const StateDict& weights, StateDict& average);

}  // namespace denoise
