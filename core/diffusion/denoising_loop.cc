#include "core/diffusion/denoising_loop.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/base/check.h"
#include "core/diffusion/row_batch.h"

namespace denoise {
namespace {

constexpr int64_t kEvaluationsBeforeCapture = 3;  // shapes that come and go are not worth a graph
constexpr size_t kMaxShapes = 16;

}  // namespace

DenoisingLoop::DenoisingLoop(const Network& network, std::shared_ptr<DeviceRuntime> runtime)
    : network_(network), runtime_(std::move(runtime)), captures_(runtime_->captures()) {
  DENOISE_DCHECK(runtime_->device() == network.device());
}

Evaluated DenoisingLoop::Evaluate(const std::vector<Trajectory*>& trajectories) {
  DENOISE_DCHECK(!trajectories.empty());
  ++evaluations_;
  Evaluated evaluated;
  if (EvaluationGraph* graph = GraphFor(trajectories)) {
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
  if (!captures_) return nullptr;
  if (!std::all_of(trajectories.begin(), trajectories.end(),
                   [](const Trajectory* trajectory) { return IsLinear(*trajectory); })) {
    return nullptr;
  }
  const GraphShape shape = GraphShapeOf(trajectories);
  if (!candidates_.contains(shape) && candidates_.size() == kMaxShapes) ForgetLeastRecentlyUsed();
  Candidate& candidate = candidates_[shape];
  candidate.last_used = evaluations_;
  if (candidate.graph != nullptr) return candidate.graph.get();
  if (++candidate.seen < kEvaluationsBeforeCapture) return nullptr;
  try {
    candidate.graph = std::make_unique<EvaluationGraph>(shape, trajectories, network_, *runtime_);
  } catch (const std::exception&) {  // the network waits for the host, say: evaluated without
    captures_ = false;
    candidates_.clear();
    return nullptr;
  }
  return candidate.graph.get();
}

void DenoisingLoop::ForgetLeastRecentlyUsed() {
  candidates_.erase(std::min_element(
      candidates_.begin(), candidates_.end(),
      [](const auto& a, const auto& b) { return a.second.last_used < b.second.last_used; }));
}

}  // namespace denoise
