// Plans for people.
#pragma once

#include <string>

#include "client/cli/plan_source.h"

namespace denoise {

// A heading, then a line for each evaluation and a last one for where they lead.
std::string PlanTable(const ShownPlan& shown);

}  // namespace denoise
