// Plans for people.
#pragma once

#include <string>

#include "client/cli/commands/plan_source.h"

namespace denoise {

// "dpmpp of order 2: 5 steps, 5 network evaluations, 2 slots".
std::string PlanHeadline(const ShownPlan& shown);

// The headline, then a line for each evaluation and a last one for where they lead.
std::string PlanTable(const ShownPlan& shown);

}  // namespace denoise
