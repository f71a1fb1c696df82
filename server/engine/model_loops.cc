#include "server/engine/model_loops.h"

#include <c10/util/Exception.h>

#include <optional>
#include <utility>

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

Evaluated ModelLoops::Evaluate(const Pipelines& pipelines, int64_t row_pixels,
                               const std::vector<Trajectory*>& trajectories) {
  ModelLoop& of_model = LoopFor(pipelines);
  const bool is_largest = row_pixels > of_model.fitted_row_pixels;
  if (is_largest || runtime_->device().is_cpu()) CheckMemory(pipelines, row_pixels);
  if (!is_largest) return of_model.loop.Evaluate(trajectories);
  Evaluated evaluated;
  const std::optional<int64_t> peak =
      runtime_->PeakMemory([&] { evaluated = of_model.loop.Evaluate(trajectories); });
  if (peak) memory_->Record(pipelines, row_pixels, *peak);
  of_model.fitted_row_pixels = row_pixels;
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

// An accelerator's allocator says itself when memory runs out, and has kept what has fit before. A
// host's lets the kernel end the process.
void ModelLoops::CheckMemory(const Pipelines& pipelines, int64_t row_pixels) const {
  const std::optional<int64_t> bytes = memory_->BytesFor(pipelines, row_pixels);
  if (!bytes || *bytes < kLookFromBytes) return;
  const std::optional<DeviceMemory> memory = runtime_->Memory();
  TORCH_CHECK_WITH(OutOfMemoryError, !memory || *bytes <= memory->free_bytes,
                   "an evaluation takes ", *bytes, " bytes, and ", memory->free_bytes, " are free");
}

}  // namespace denoise
