// The body of every denoising loop: one network evaluation of many trajectories. The server's
// workers, the sample grids of training, evaluations of models and offline sampling all call it;
// which trajectories take part, and what happens to them afterwards, is theirs to decide.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "core/device/device_runtime.h"
#include "core/diffusion/evaluation_graph.h"
#include "core/diffusion/trajectory.h"
#include "core/nn/network.h"

namespace denoise {

// What one evaluation leaves. On an accelerator it may still be running: whatever reads `x0` or a
// trajectory in stream order needs no wait.
struct Evaluated {
  at::Tensor x0;  // predicted, [trajectories, C, H, W] float32 on the network's device
  std::shared_ptr<DeviceMark> network_began;
  std::shared_ptr<DeviceMark> network_ended;
  int64_t padded_rows = 0;  // of the network call, beside those of the trajectories
};

// Belongs to one thread, which owns the device. Called under c10::InferenceMode.
//
// Where the device can capture graphs, an evaluation is captured once batches of its shape come
// repeatedly, and replayed from then on. Batches with an image that needs more than the two
// products of evaluation_numbers.h are evaluated without a graph. So are all batches once a capture
// has failed, unless memory ran out: then captures of other shapes go on, and one of the same shape
// is tried again kEvaluationsBeforeRetry evaluations later.
class DenoisingLoop {
 public:
  static constexpr int64_t kEvaluationsBeforeRetry = 1000;

  // Hears why a capture failed. The evaluation itself then runs without a graph.
  using OnCaptureFailed = std::function<void(const std::exception& error)>;

  // `network` outlives the loop's last Evaluate. `runtime` is one of its device; the loops of a
  // thread share it. `on_capture_failed` may be null.
  DenoisingLoop(const Network& network, std::shared_ptr<DeviceRuntime> runtime,
                OnCaptureFailed on_capture_failed = nullptr);

  // Moves every trajectory past its next evaluation. None of them is done, and there is at least
  // one. Throws what LibTorch throws; then no trajectory has moved, and the evaluation may be tried
  // again.
  Evaluated Evaluate(const std::vector<Trajectory*>& trajectories);

 private:
  struct Candidate {
    int64_t seen = 0;          // evaluations of this shape
    int64_t last_used = 0;     // the number of the evaluation
    int64_t capture_from = 0;  // the same, of the first that may capture
    std::unique_ptr<EvaluationGraph> graph;
  };

  // Null where these trajectories are evaluated without a graph.
  EvaluationGraph* GraphFor(const std::vector<Trajectory*>& trajectories);
  Candidate& CandidateFor(const GraphShape& shape);
  void ForgetLeastRecentlyUsed();
  void HandleFailedCapture(Candidate& candidate, const std::exception& error);

  const Network& network_;
  const std::shared_ptr<DeviceRuntime> runtime_;
  const OnCaptureFailed on_capture_failed_;
  bool captures_;  // false for good once a capture has failed for a reason other than memory
  int64_t evaluations_ = 0;
  std::map<GraphShape, Candidate> candidates_;
};

}  // namespace denoise
