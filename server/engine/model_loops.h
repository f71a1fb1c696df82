// The denoising loops of one device, one for each model in use.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "core/device/device_runtime.h"
#include "core/diffusion/denoising_loop.h"
#include "core/pipeline/pipeline.h"
#include "server/engine/memory_budget.h"

namespace denoise {

// Belongs to the thread that owns the device.
class ModelLoops {
 public:
  using Pipelines = std::shared_ptr<const PipelineReplicas>;

  // Of device `index` of all pipelines, whose runtime is `runtime`. `memory` outlives it.
  ModelLoops(int index, std::shared_ptr<DeviceRuntime> runtime, MemoryBudget* memory,
             DenoisingLoop::OnCaptureFailed on_capture_failed);

  // As DenoisingLoop::Evaluate, with `rows` rows of x of so many pixels. On the CPU, what it takes of
  // memory is measured, and c10::OutOfMemoryError thrown instead of trying what is known not to fit.
  Evaluated Evaluate(const Pipelines& pipelines, int64_t pixels, int rows,
                     const std::vector<Trajectory*>& trajectories);

  // The most rows times pixels of one call of this model that have fit so far.
  int64_t FittedRowPixels(const Pipelines& pipelines) const;

  void ForgetGoneModels();  // whose loops would hold graphs for nothing

 private:
  struct ModelLoop {
    std::weak_ptr<const PipelineReplicas> pipelines;
    DenoisingLoop loop;
    int64_t fitted_row_pixels = 0;
  };

  ModelLoop& LoopFor(const Pipelines& pipelines);
  void CheckMemory(const Pipelines& pipelines, int64_t pixels, int rows) const;

  const int index_;
  const std::shared_ptr<DeviceRuntime> runtime_;
  MemoryBudget* const memory_;
  const DenoisingLoop::OnCaptureFailed on_capture_failed_;
  std::map<const PipelineReplicas*, ModelLoop> loops_;
};

}  // namespace denoise
