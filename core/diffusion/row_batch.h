// One network call for many trajectories: gather their rows, then update them all at once.
//
//     RowBatch batch(trajectories, network, runtime);
//     at::Tensor output = network.Forward(batch.input());
//     at::Tensor x0 = batch.Update(output);
//
// The trajectories may have different samplers, positions, guidance scales, classes and seeds. On
// the CPU a trajectory's result does not depend on the others, bit for bit: operations on the whole
// batch are exactly rounded (elementwise products, sums and clamps) or small matrix products, one
// per trajectory, whose shape follows from its own plan and conditioning. The rest runs image by
// image.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/device/device_runtime.h"
#include "core/diffusion/evaluation_numbers.h"
#include "core/diffusion/trajectory.h"
#include "core/nn/network.h"

namespace denoise {

class RowBatch {
 public:
  // None of `trajectories` is done; all have one shape and suit `network`; they outlive the batch
  // and nothing else touches them meanwhile. `runtime` is one of the network's device, and outlives
  // the batch.
  RowBatch(std::vector<Trajectory*> trajectories, const Network& network, DeviceRuntime& runtime);

  // Each trajectory's rows together: one for each of its conditions, then its unconditional row
  // where it is guided.
  const NetworkInput& input() const { return input_; }

  // Guidance, x0, clipping, the update and its noise: every trajectory moves past its evaluation.
  // Returns the predicted x0, [trajectories, C, H, W] float32 on the network's device. `output` is
  // the network's for input(). If this throws, no trajectory has moved, and the evaluation can be
  // tried again.
  at::Tensor Update(const at::Tensor& output);

 private:
  struct Updated {
    at::Tensor x0;     // [n, 1, D], clipped or thresholded
    at::Tensor slots;  // [n, K, D]
  };
  Updated UpdateGroupOf(const UpdateGroup& group, const GroupNumbers& numbers,
                        const at::Tensor& output) const;
  // The group's rows of the network's output, [n, R, D], without the learned variance.
  at::Tensor Rows(const UpdateGroup& group, const GroupNumbers& numbers,
                  const at::Tensor& output) const;
  at::Tensor Noise(const UpdateGroup& group, const at::Tensor& output) const;  // [n, 1, D]
  std::vector<Trajectory*> MembersOf(const UpdateGroup& group) const;
  // The blend of trajectory i's conditional rows: C channels, beginning with `channel`.
  at::Tensor Conditional(int64_t i, const at::Tensor& output, int64_t channel) const;
  at::Tensor RescaledPrediction(int64_t i, const at::Tensor& output) const;  // [C, H, W]
  void KeepKnown(int64_t i, const at::Tensor& slots) const;  // of an inpainted picture

  std::vector<Trajectory*> trajectories_;
  DeviceRuntime& runtime_;
  const int64_t channels_;  // of x
  std::vector<UpdateGroup> groups_;
  NumberTable table_;
  EvaluationNumbers numbers_;
  NetworkInput input_;
};

// Clips the x0 of one picture, of any shape, to a quantile of its own and scales the result to
// [-1, 1] (Saharia et al. 2022, section 2.3).
at::Tensor ApplyDynamicThreshold(const at::Tensor& x0, const DynamicThreshold& threshold);

// How the trajectories' products are grouped on `device`.
std::vector<UpdateGroup> GroupForUpdate(const std::vector<Trajectory*>& trajectories,
                                        at::Device device);

// The condition of each row of a batch, in order.
std::vector<SharedCondition> ConditionsOf(const std::vector<Trajectory*>& trajectories);

// The columns [slots ; rows ; x0 ; z] of a group's second product, [n, columns, D]; x0 is yet to be
// filled in. `noise` is undefined where the shape has none.
at::Tensor UpdateColumns(const at::Tensor& slots, const at::Tensor& rows, const at::Tensor& noise);

// x0 of a group, [n, 1, D], clipped.
at::Tensor PredictX0(const UpdateShape& shape, const GroupNumbers& numbers,
                     const at::Tensor& columns);

}  // namespace denoise
