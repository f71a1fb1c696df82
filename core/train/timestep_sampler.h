// At which timesteps a network is trained.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <vector>

#include "absl/status/status.h"
#include "core/nn/state_dict.h"
#include "core/sampling/schedule.h"
#include "core/train/training_options.h"

namespace denoise {

struct SampledTimesteps {
  std::vector<double> timesteps;
  std::vector<float>
      weights;  // of the rows' losses, so that their mean is that of uniform sampling
};

// Not thread-safe. What it has learned of the losses is part of a training checkpoint.
class TimestepSampler {
 public:
  // `options` suits the schedule, as Objective::Create says.
  TimestepSampler(Schedule schedule, const ObjectiveOptions& options);

  SampledTimesteps Sample(int64_t rows, at::Generator& generator) const;

  // The unweighted losses of rows that were trained on. Only kLossSecondMoment remembers them.
  void Update(const std::vector<double>& timesteps, const at::Tensor& losses);

  // What it remembers, on the CPU; empty where that is nothing.
  StateDict state() const;
  absl::Status SetState(const StateDict& state);

 private:
  Schedule schedule_;
  ObjectiveOptions options_;
};

}  // namespace denoise
