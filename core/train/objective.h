// What training minimises: the variational bound and its simplified, weighted relatives.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "absl/status/statusor.h"
#include "core/diffusion/forward_process.h"
#include "core/nn/network.h"
#include "core/sampling/scheduler_config.h"
#include "core/train/training_options.h"

namespace denoise {

// Pictures of one network call.
struct TrainingRows {
  at::Tensor x0;            // [B, C, H, W] float32 in [-1, 1], on the network's device
  at::Tensor class_labels;  // [B] int64; undefined where the network is not class-conditional
};

// Immutable and thread-safe.
class Objective {
 public:
  // InvalidArgument with field violations named as the members of ObjectiveOptions where the
  // objective does not suit the schedule or the prediction.
  static absl::StatusOr<Objective> Create(const SchedulerConfig& scheduler,
                                          const ObjectiveOptions& options);

  // Of each row; `loss` is what is minimised. The others are for people, without gradient, and
  // undefined where they are not part of the objective.
  struct Losses {
    at::Tensor loss;    // [B] float32
    at::Tensor simple;  // [B]
    at::Tensor vlb;     // [B], in bits per dimension
  };

  // `timesteps` has one entry a row, `noise` is standard normal of the shape of x0.
  Losses Evaluate(const Network& network, const TrainingRows& rows,
                  const std::vector<double>& timesteps, const at::Tensor& noise) const;

  const Schedule& schedule() const { return process_.schedule(); }

 private:
  Objective(ForwardProcess process, const SamplerOptions& prediction,
            const ObjectiveOptions& options);

  ForwardProcess process_;
  SamplerOptions prediction_;  // prediction_type and variance_type
  ObjectiveOptions options_;
};

}  // namespace denoise
