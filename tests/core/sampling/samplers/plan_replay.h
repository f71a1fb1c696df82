// The loop that docs/plan.md describes, written out plainly in double precision for tests.
#pragma once

#include <functional>
#include <vector>

#include "core/sampling/samplers/plan.h"

namespace denoise {

using Values = std::vector<double>;

struct NetworkOutput {
  Values mean;
  Values variance;  // the second half of the channels, or empty
};

struct ReplayOptions {
  // Called with slot 0 times input_scale.
  std::function<NetworkOutput(const Values& input, const Evaluation& evaluation)> network;
  std::function<Values(size_t size)> noise;  // unused by plans that add none
  size_t image_size = 0;  // values per image, over which a threshold is taken; 0: all
  size_t first_evaluation = 0;
};

struct Replayed {
  std::vector<Values> slots;
  std::vector<double> abs_sums;  // sum of |slot 0| after each evaluation
};

// `slots` holds the state before the first evaluation; missing slots start as zeros.
Replayed ReplayPlan(const SamplerPlan& plan, std::vector<Values> slots,
                    const ReplayOptions& options);

double AbsSum(const Values& values);

}  // namespace denoise
