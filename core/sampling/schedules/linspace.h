// Evenly spaced numbers.
#pragma once

#include <vector>

namespace denoise {

// `count` values from `start` to `end`, both included; a single value is `start`.
inline std::vector<double> Linspace(double start, double end, int count) {
  std::vector<double> values(count, start);
  for (int i = 1; i < count; ++i) values[i] = start + (end - start) * i / (count - 1);
  return values;
}

}  // namespace denoise
