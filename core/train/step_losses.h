// The losses of a step, collected over its network calls and read from the device once.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/ranks/rank_group.h"
#include "core/train/objective.h"

namespace denoise {

class StepLosses {
 public:
  // Adds the losses of the next rows. Keeps no graph.
  void Add(const Objective::Losses& losses);

  // Makes the losses of this rank's share of the batch those of the whole batch, and
  // `gradient_norm`, a scalar, rank 0's: what is decided by them is then decided by all ranks
  // alike. Returns whether a rank wants to leave.
  absl::StatusOr<bool> Gather(RankGroup& group, int batch_size, at::Tensor& gradient_norm);

  // Weighted means over the rows of the step.
  struct Values {
    at::Tensor rows;  // [B] unweighted losses on the CPU
    double loss = 0;
    std::optional<double> simple;
    std::optional<double> vlb;
    double gradient_norm = 0;
    bool finite = false;  // every loss and the norm
  };
  // The only place where a step waits for its device. `gradient_norm` is a scalar on that device.
  Values Read(const std::vector<float>& weights, const at::Tensor& gradient_norm) const;

 private:
  std::vector<at::Tensor> loss_, simple_, vlb_;  // one [B] per network call; empty if not computed
};

}  // namespace denoise
