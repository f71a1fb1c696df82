// Conditions of class-conditional networks, spelt briefly.
#pragma once

#include <cstdint>
#include <vector>

#include "core/diffusion/guidance.h"

namespace denoise {

struct ClassWeight {
  int64_t class_label = 0;
  double weight = 1;
};

inline std::vector<WeightedCondition> Classes(const std::vector<ClassWeight>& classes) {
  std::vector<WeightedCondition> conditions;
  for (const ClassWeight& entry : classes) {
    conditions.push_back({.condition = ClassCondition(entry.class_label), .weight = entry.weight});
  }
  return conditions;
}

}  // namespace denoise
