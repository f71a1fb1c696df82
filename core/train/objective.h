// What training minimises: the variational bound and its simplified, weighted relatives.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/diffusion/forward_process.h"
#include "core/diffusion/variational_bound.h"
#include "core/nn/network.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/sampling/schedules/preconditioning.h"
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
  // objective does not suit the schedule, what the network predicts, or its channels. `options` are
  // in range (ValidateTrainingOptions).
  static absl::StatusOr<Objective> Create(const SchedulerConfig& scheduler,
                                          const ObjectiveOptions& options,
                                          const NetworkSpec& network);

  // Of each row; `loss` is what is minimised. The others are for people, without gradient, and
  // undefined where they are not part of the objective.
  struct Losses {
    at::Tensor loss;    // [B] float32
    at::Tensor simple;  // [B] mean squared error of what the network predicts, without weighting
    at::Tensor vlb;  // [B] bits per dimension: the row's term times the number of timesteps, whose
                     // mean over timesteps is the bound less its prior
  };

  // `timesteps` has one entry a row, `noise` is standard normal of the shape of x0. Timesteps lie
  // between the schedule's timestep_min and timestep_max, and are whole where the bound is asked for.
  Losses Evaluate(const Network& network, const TrainingRows& rows,
                  const std::vector<double>& timesteps, const at::Tensor& noise) const;

  const Schedule& schedule() const { return process_.schedule(); }

 private:
  struct Row;  // the coefficients of one

  Objective(const Schedule& schedule, PredictionType prediction_type,
            const ObjectiveOptions& options, std::optional<VariationalBound> bound);

  Row RowAt(double timestep) const;
  at::Tensor SimpleLoss(const at::Tensor& prediction, const at::Tensor& x0, const at::Tensor& noise,
                        const std::vector<Row>& rows) const;
  at::Tensor VlbLoss(const at::Tensor& output, const at::Tensor& x0, const at::Tensor& x_t,
                     const std::vector<double>& timesteps) const;

  ForwardProcess process_;
  PredictionType prediction_type_;
  std::optional<Preconditioning> preconditioning_;
  ObjectiveOptions options_;
  std::optional<VariationalBound> bound_;  // where it is part of the loss
};

}  // namespace denoise
