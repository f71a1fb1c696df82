// One network call for many trajectories: gather their rows, then update them all at once.
//
//     RowBatch batch(trajectories, network);
//     at::Tensor output = network.Forward(batch.input());
//     at::Tensor x0 = batch.Update(output);
//
// The offline loop, the server's workers and the sample grids of training all run these three
// lines. The trajectories may have different samplers, positions, guidance scales, classes and
// seeds. On the CPU a trajectory's result does not depend on the others, bit for bit: what runs
// over the whole batch is exactly rounded (products, sums, clamps) or one product a trajectory, of a
// shape that its own plan gives; everything else runs row by row.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/diffusion/trajectory.h"
#include "core/nn/network.h"

namespace denoise {

class RowBatch {
 public:
  // None of `trajectories` is done; all suit `network`; they outlive the batch and are not touched
  // meanwhile.
  RowBatch(std::vector<Trajectory*> trajectories, const Network& network);

  // Each trajectory's rows in turn: one for each of its classes, then its unconditional row where it
  // is guided.
  const NetworkInput& input() const { return input_; }

  // Guidance, x0, clipping, the update and its noise: every trajectory moves past its evaluation.
  // Returns the predicted x0, [trajectories, C, H, W] float32 on the network's device. `output` is
  // what the network made of input(). Where this throws, no trajectory has moved, and the evaluation
  // can be tried again.
  at::Tensor Update(const at::Tensor& output);

 private:
  // The blend of trajectory i's conditional rows, [out_channels, H, W].
  at::Tensor Conditional(size_t i, const at::Tensor& output) const;
  // Trajectory i's m, [C, H, W].
  at::Tensor Guided(size_t i, const at::Tensor& conditional, const at::Tensor& output) const;
  at::Tensor PredictX0(const at::Tensor& m) const;  // clipped or thresholded
  // Each trajectory's next state, [K, C, H, W], before its noise.
  std::vector<at::Tensor> UpdatedSlots(const at::Tensor& x0, const at::Tensor& m) const;
  void AddNoise(size_t i, const at::Tensor& conditional, const at::Tensor& slots) const;
  void KeepKnown(size_t i, const at::Tensor& slots) const;  // of an inpainted picture

  std::vector<Trajectory*> trajectories_;
  std::vector<int64_t> row_begin_;  // trajectory i has rows [row_begin_[i], row_begin_[i + 1])
  int64_t channels_;
  at::Device device_;
  at::Tensor x_;             // every slot 0, [trajectories, C, H, W]
  at::Tensor coefficients_;  // [trajectories, kNumCoefficients], see row_batch.cc
  NetworkInput input_;
};

}  // namespace denoise
