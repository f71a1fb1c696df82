// An evaluation on memory of its own that stays where it is, captured once and replayed: a few
// uploads, one launch, and a copy of the result.
#pragma once

#include <ATen/core/Tensor.h>

#include <compare>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/device/device_runtime.h"
#include "core/diffusion/evaluation_numbers.h"
#include "core/diffusion/trajectory.h"
#include "core/nn/network.h"

namespace denoise {

// What a graph is captured for. Batches are padded up to it.
struct GraphShape {
  SampleShape sample;
  int64_t text_tokens = 0;  // of each row
  int64_t trajectories = 1;
  int64_t rows = 1;  // of the network call
  UpdateShape update;

  auto operator<=>(const GraphShape&) const = default;
};

// Whether a graph can hold the next evaluations: all are IsLinear, texts are of one length, and
// no row has adapters.
bool SuitsGraph(const std::vector<Trajectory*>& trajectories);

// The shape that the next evaluations of `trajectories` are padded to: counts up to 8 as they are,
// larger ones up to the next of four steps between powers of two, so that padding adds at most a
// quarter.
GraphShape GraphShapeOf(const std::vector<Trajectory*>& trajectories);

// Belongs to one thread. Called under c10::InferenceMode.
class EvaluationGraph {
 public:
  // Captures an evaluation of `shape`, which is GraphShapeOf(trajectories), without moving them.
  // `network` and `runtime` outlive the graph's last Evaluate. Throws what LibTorch throws.
  EvaluationGraph(const GraphShape& shape, const std::vector<Trajectory*>& trajectories,
                  const Network& network, DeviceRuntime& runtime);

  // As DenoisingLoop::Evaluate, for trajectories of the graph's shape that SuitsGraph allows.
  // Returns the predicted x0.
  at::Tensor Evaluate(const std::vector<Trajectory*>& trajectories);

  const GraphShape& shape() const { return shape_; }

 private:
  NumberTable TableOf(const std::vector<Trajectory*>& trajectories) const;
  void Load(const std::vector<Trajectory*>& trajectories, const NumberTable& table);
  void Run();  // what is captured

  const GraphShape shape_;
  const Network& network_;
  DeviceRuntime& runtime_;
  // Constant in place, on the device. T, K, D: trajectories, slots and elements of a picture.
  at::Tensor bytes_;  // of a NumberTable
  EvaluationNumbers numbers_;
  Conditions conditions_;  // of shape_.rows rows
  at::Tensor state_;       // [T, K, D]
  at::Tensor noise_;       // [T, 1, D]
  at::Tensor x0_;          // [T, 1, D], a result
  at::Tensor slots_;       // [T, K, D], a result
  std::unique_ptr<DeviceGraph> graph_;
};

}  // namespace denoise
