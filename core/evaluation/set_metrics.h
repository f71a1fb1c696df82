// How like two sets of pictures are, as numbers over their features.
#pragma once

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"

namespace denoise {

struct SetMetrics {
  double frechet_distance = 0;   // Heusel et al. 2017, eq. 6
  double precision = 0;          // Kynkaanniemi et al. 2019, eq. 2, 3
  double recall = 0;             // the same the other way round
  double density = 0;            // Naeem et al. 2020, eq. 5
  double coverage = 0;           // the same, eq. 7; low is mode collapse
  double memorisation_rate = 0;  // samples that are copies, see core/evaluation
  std::vector<int64_t> nearest;  // of each sample, the index of the nearest real picture
};

// `samples` [N, D] and `real` [M, D] float32 or double, on any device; both more than
// `nearest_neighbours` rows. InvalidArgument names what is wrong.
absl::StatusOr<SetMetrics> CompareSets(const at::Tensor& samples, const at::Tensor& real,
                                       int nearest_neighbours);

}  // namespace denoise
