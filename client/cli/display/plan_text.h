// Plans for people.
#pragma once

#include <string>

#include "core/sampling/samplers/plan.h"

namespace denoise {

// The texts are fit for a terminal.
struct ShownPlan {
  std::string sampler;  // "dpmpp of order 2"
  std::string model;    // "emoji-32, version 1f0c"; empty for a plan that was compiled here
  SamplerPlan plan;
};

// "dpmpp of order 2: 5 steps, 5 network evaluations, 2 slots".
std::string PlanHeadline(const ShownPlan& shown);

// The headline, a line for each evaluation, and a last line for where they lead.
std::string PlanTable(const ShownPlan& shown);

}  // namespace denoise
