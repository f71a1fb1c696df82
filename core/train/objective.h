// What training minimises: the variational bound, or its simplified and weighted forms.
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

// The pictures of one network call.
struct TrainingRows {
  at::Tensor x0;            // [B, C, H, W] float32 in [-1, 1], on the network's device
  at::Tensor class_labels;  // [B] int64; undefined where the network is not class-conditional
};

// Immutable and thread-safe.
class Objective {
 public:
  // InvalidArgument, with field violations named like the members of ObjectiveOptions, if the
  // objective does not suit the schedule, the network's prediction type or its channels. `options`
  // have passed ValidateTrainingOptions.
  static absl::StatusOr<Objective> Create(const SchedulerConfig& scheduler,
                                          const ObjectiveOptions& options,
                                          const NetworkSpec& network);

  // Per row. `loss` is what is minimised. The others are for people: they carry no gradient, and
  // are undefined when they are not part of the objective.
  struct Losses {
    at::Tensor loss;    // [B] float32
    at::Tensor simple;  // [B] unweighted mean squared error of the prediction
    at::Tensor vlb;     // [B] bits per dimension: the row's term times the number of timesteps. The
                        // mean over timesteps is the bound without its prior.
  };

  // Requires one timestep per row and standard normal `noise` in the shape of x0. Timesteps lie
  // between the schedule's timestep_min and timestep_max, and are whole if the objective includes
  // the bound.
  Losses Evaluate(const Network& network, const TrainingRows& rows,
                  const std::vector<double>& timesteps, const at::Tensor& noise) const;

  const Schedule& schedule() const { return process_.schedule(); }

 private:
  struct Row;  // the coefficients of one row

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
  std::optional<VariationalBound> bound_;  // if it is part of the loss
};

// The weight of the squared error in x0 at `level`; kUniform has none. Only kEdm reads
// `sigma_data`.
double X0Weight(const ObjectiveOptions& options, const NoiseLevel& level, double sigma_data);

// X0Weight times x0_from_output^2: an error e of the output is an error of x0_from_output * e in
// x0. So a weighting means the same for every prediction type, except kUniform, which weighs outputs
// alike.
double OutputWeight(const ObjectiveOptions& options, const NoiseLevel& level, double x0_from_output,
                    double sigma_data);

}  // namespace denoise
