#include "core/diffusion/denoising_loop.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/status/status.h"
#include "core/base/check.h"
#include "core/diffusion/device_errors.h"
#include "core/diffusion/row_batch.h"

namespace denoise {
namespace {

constexpr int64_t kEvaluationsBeforeCapture = 3;  // shapes that come and go are not worth a graph
constexpr size_t kMaxShapes = 16;

}  // namespace

DenoisingLoop::DenoisingLoop(const Network& network, std::shared_ptr<DeviceRuntime> runtime,
                             OnCaptureFailed on_capture_failed)
    : network_(network),
      runtime_(std::move(runtime)),
      on_capture_failed_(std::move(on_capture_failed)),
      captures_(runtime_->captures()) {
  DENOISE_DCHECK(runtime_->device() == network.device());
}

Evaluated DenoisingLoop::Evaluate(const std::vector<Trajectory*>& trajectories) {
  DENOISE_DCHECK(!trajectories.empty());
  ++evaluations_;
  Evaluated evaluated;
  if (EvaluationGraph* graph = GraphFor(trajectories)) {
    evaluated.padded_rows = graph->shape().rows;
    for (const Trajectory* trajectory : trajectories) evaluated.padded_rows -= trajectory->rows();
    evaluated.network_began = runtime_->Mark();
    evaluated.x0 = graph->Evaluate(trajectories);
    evaluated.network_ended = runtime_->Mark();
    return evaluated;
  }
  RowBatch batch(trajectories, network_, *runtime_);
  evaluated.network_began = runtime_->Mark();
  const at::Tensor output = network_.Forward(batch.input());
  evaluated.network_ended = runtime_->Mark();
  evaluated.x0 = batch.Update(output);
  return evaluated;
}

EvaluationGraph* DenoisingLoop::GraphFor(const std::vector<Trajectory*>& trajectories) {
  if (!captures_ || !SuitsGraph(trajectories)) return nullptr;
  const GraphShape shape = GraphShapeOf(trajectories);
  Candidate& candidate = CandidateFor(shape);
  candidate.last_used = evaluations_;
  if (candidate.graph != nullptr) return candidate.graph.get();
  if (++candidate.seen < kEvaluationsBeforeCapture || evaluations_ < candidate.capture_from) {
    return nullptr;
  }
  try {
    candidate.graph = std::make_unique<EvaluationGraph>(shape, trajectories, network_, *runtime_);
  } catch (const std::exception& error) {
    HandleFailedCapture(candidate, error);
    return nullptr;
  }
  return candidate.graph.get();
}

DenoisingLoop::Candidate& DenoisingLoop::CandidateFor(const GraphShape& shape) {
  if (!candidates_.contains(shape) && candidates_.size() == kMaxShapes) ForgetLeastRecentlyUsed();
  return candidates_[shape];
}

void DenoisingLoop::ForgetLeastRecentlyUsed() {
  candidates_.erase(std::min_element(
      candidates_.begin(), candidates_.end(),
      [](const auto& a, const auto& b) { return a.second.last_used < b.second.last_used; }));
}

// Memory comes back when a model or a training job goes. Anything else is the network's way of
// working, such as waiting for the host, and would fail again.
void DenoisingLoop::HandleFailedCapture(Candidate& candidate, const std::exception& error) {
  if (on_capture_failed_) on_capture_failed_(error);
  if (absl::IsResourceExhausted(DeviceError(error))) {
    candidate.capture_from = evaluations_ + kEvaluationsBeforeRetry;
    return;
  }
  captures_ = false;
  candidates_.clear();
}

}  // namespace denoise
