// At which timesteps a network is trained.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "core/nn/state_dict.h"
#include "core/sampling/schedules/schedule.h"
#include "core/train/training_options.h"

namespace denoise {

struct SampledTimesteps {
  std::vector<double> timesteps;
  // Of the rows' losses, so that their mean is that of uniform sampling; 1 but for
  // kLossSecondMoment. A log-normal choice is meant to weight the loss.
  std::vector<float> weights;
};

// Between the schedule's timestep_min and timestep_max, in whole timesteps of a variance-preserving
// schedule; kUniform is in sigma on a flow, in log sigma on EDM's schedule. Not thread-safe. What it
// has learned of the losses is part of a training checkpoint.
class TimestepSampler {
 public:
  // `options` suits the schedule, as Objective::Create says.
  TimestepSampler(Schedule schedule, const ObjectiveOptions& options);

  SampledTimesteps Sample(int64_t rows, at::Generator& generator) const;

  // The unweighted losses of rows that were trained on, [B]. Only kLossSecondMoment remembers them:
  // the last few of every timestep. Those that are not finite are left out.
  void Update(const std::vector<double>& timesteps, const at::Tensor& losses);

  // What it remembers, on the CPU; empty where that is nothing.
  StateDict state() const;
  // InvalidArgument where `state` is not of such a sampler. Changes nothing then.
  absl::Status SetState(const StateDict& state);

 private:
  bool remembers() const { return !counts_.empty(); }
  SampledTimesteps SampleUniform(int64_t rows, at::Generator& generator) const;
  SampledTimesteps SampleLogNormal(int64_t rows, at::Generator& generator) const;
  SampledTimesteps SampleByLoss(int64_t rows, at::Generator& generator) const;
  // Of each timestep; empty before all of them have been seen often enough.
  std::vector<double> Probabilities() const;

  Schedule schedule_;
  ObjectiveOptions options_;
  // kLossSecondMoment only.
  std::vector<float> losses_;  // the last few of each timestep, the newest last
  std::vector<float> counts_;  // how many have been seen of each, up to as many
};

}  // namespace denoise
