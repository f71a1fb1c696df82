#include "server/engine/model_loops.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/device/host_allocations.h"

namespace denoise {
namespace {

// Evaluations that take less are made without a look at the memory.
constexpr int64_t kLookFromBytes = int64_t{64} << 20;

}  // namespace

ModelLoops::ModelLoops(int index, std::shared_ptr<DeviceRuntime> runtime, MemoryBudget* memory,
                       DenoisingLoop::OnCaptureFailed on_capture_failed)
    : index_(index),
      runtime_(std::move(runtime)),
      memory_(memory),
      on_capture_failed_(std::move(on_capture_failed)) {}

// An accelerator's allocator says itself when memory runs out. A host's lets the kernel end the
// process.
Evaluated ModelLoops::Evaluate(const Pipelines& pipelines, int64_t pixels, int rows,
                               const std::vector<Trajectory*>& trajectories) {
  ModelLoop& of_model = LoopFor(pipelines);
  Evaluated evaluated;
  const auto evaluate = [&] { evaluated = of_model.loop.Evaluate(trajectories); };
  if (runtime_->device().is_cpu()) {
    CheckMemory(pipelines, pixels, rows);
    const std::optional<int64_t> peak = runtime_->PeakMemory(evaluate);
    if (peak) memory_->Record(pipelines, pixels, rows, *peak);
  } else {
    evaluate();
  }
  of_model.fitted_row_pixels = std::max(of_model.fitted_row_pixels, rows * pixels);
  return evaluated;
}

int64_t ModelLoops::FittedRowPixels(const Pipelines& pipelines) const {
  const auto found = loops_.find(pipelines.get());
  return found == loops_.end() ? 0 : found->second.fitted_row_pixels;
}

void ModelLoops::ForgetGoneModels() {
  std::erase_if(loops_, [](const auto& item) { return item.second.pipelines.expired(); });
}

ModelLoops::ModelLoop& ModelLoops::LoopFor(const Pipelines& pipelines) {
  ForgetGoneModels();
  const auto found = loops_.find(pipelines.get());
  if (found != loops_.end()) return found->second;
  return loops_
      .emplace(pipelines.get(), ModelLoop{.pipelines = pipelines,
                                          .loop = DenoisingLoop(*(*pipelines)[index_]->network,
                                                                runtime_, on_capture_failed_)})
      .first->second;
}

void ModelLoops::CheckMemory(const Pipelines& pipelines, int64_t pixels, int rows) const {
  const std::optional<int64_t> bytes = memory_->BytesFor(pipelines, pixels, rows);
  if (!bytes || *bytes < kLookFromBytes || HasFree(*runtime_, *bytes)) return;
  ReturnFreedHostMemory();
  TORCH_CHECK_WITH(OutOfMemoryError, HasFree(*runtime_, *bytes), "an evaluation takes ", *bytes,
                   " bytes of memory, which are not free");
}

}  // namespace denoise
