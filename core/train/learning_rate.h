// The learning rate as a function of the step.
#pragma once

#include <cstdint>

#include "core/train/training_options.h"

namespace denoise {

// Of step 1 to max_steps. It rises along a line, from 0 before the first step to learning_rate at
// step warmup_steps, then decays so as to be 0 once max_steps are done: no step is wasted on a rate
// of 0.
double LearningRateAt(const OptimizerOptions& options, int64_t max_steps, int64_t step);

}  // namespace denoise
