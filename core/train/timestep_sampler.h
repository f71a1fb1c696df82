// Chooses the timesteps that a network is trained at.
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
  // Weights of the rows' losses that make their mean an estimate of the mean under uniform
  // sampling. 1 except with kLossSecondMoment; log-normal sampling is meant to weight the loss.
  std::vector<float> weights;
};

// Timesteps lie between the schedule's timestep_min and timestep_max and are whole on a
// variance-preserving schedule. kUniform is uniform in sigma on a flow and in log sigma on EDM's
// schedule. Not thread-safe. The history of losses is part of a training checkpoint.
class TimestepSampler {
 public:
  // `options` suit the schedule, as checked by Objective::Create.
  TimestepSampler(Schedule schedule, const ObjectiveOptions& options);

  SampledTimesteps Sample(int64_t rows, at::Generator& generator) const;

  // Records the unweighted losses [B] of rows that were trained on. Only kLossSecondMoment uses
  // them: it keeps the last few of each timestep, without those that are not finite.
  void Update(const std::vector<double>& timesteps, const at::Tensor& losses);

  // The recorded losses, on the CPU; empty if there are none.
  StateDict state() const;
  // InvalidArgument, changing nothing, if `state` is not from a sampler with these options.
  absl::Status SetState(const StateDict& state);

 private:
  bool remembers() const { return !counts_.empty(); }
  SampledTimesteps SampleUniform(int64_t rows, at::Generator& generator) const;
  SampledTimesteps SampleLogNormal(int64_t rows, at::Generator& generator) const;
  SampledTimesteps SampleByLoss(int64_t rows, at::Generator& generator) const;
  // Per timestep; empty until every timestep has enough recorded losses.
  std::vector<double> Probabilities() const;

  Schedule schedule_;
  ObjectiveOptions options_;
  // kLossSecondMoment only.
  std::vector<float> losses_;  // the last few of each timestep, newest last
  std::vector<float> counts_;  // how many of those there are
};

}  // namespace denoise
