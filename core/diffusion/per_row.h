// Coefficients of rows that each have a timestep of their own.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <vector>

#include "core/sampling/schedules/schedule.h"

namespace denoise {

// The level of every row.
inline std::vector<NoiseLevel> LevelsAt(const Schedule& schedule,
                                        const std::vector<double>& timesteps) {
  std::vector<NoiseLevel> levels;
  levels.reserve(timesteps.size());
  for (double timestep : timesteps) levels.push_back(schedule.LevelAt(timestep));
  return levels;
}

// One coefficient per row, computed in double: [B, 1, ...] in x's dtype and on its device, to be
// broadcast over x [B, ...].
template <class Row, class Function>
at::Tensor PerRow(const std::vector<Row>& rows, const at::Tensor& x, Function coefficient) {
  std::vector<double> values;
  values.reserve(rows.size());
  for (const Row& row : rows) values.push_back(coefficient(row));
  std::vector<int64_t> shape(x.dim(), 1);
  shape[0] = static_cast<int64_t>(rows.size());
  return at::tensor(values, at::kDouble).to(x.options()).view(shape);
}

}  // namespace denoise
