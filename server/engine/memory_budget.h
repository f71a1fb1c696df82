// What evaluations of models take of a device's memory, as measured, so that those that cannot fit
// are refused instead of tried: on the CPU, trying ends the process.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "core/base/mutex.h"
#include "core/device/device_runtime.h"
#include "core/pipeline/pipeline.h"
#include "server/engine/generation.h"

namespace denoise {

// Whether the device of `runtime` has so much memory left; true where that is not known.
bool HasFree(const DeviceRuntime& runtime, int64_t bytes);

// The size of x is the number of its pixels: of one channel of one row. Thread-safe.
class MemoryBudget {
 public:
  using Pipelines = std::shared_ptr<const PipelineReplicas>;

  // A device of the engine has so much memory.
  void AddDevice(int64_t total_bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  // At its peak, an evaluation of so many rows held `bytes`.
  void Record(const Pipelines& pipelines, int64_t pixels, int rows, int64_t bytes)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // What such an evaluation takes, in proportion to what was measured of the nearest size. Attention
  // may take more of a larger size. nullopt where nothing has been measured.
  std::optional<int64_t> BytesFor(const Pipelines& pipelines, int64_t pixels, int rows) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // ResourceExhausted (memory_errors.h) where an image of `request` takes more in one network call
  // than any device has.
  absl::Status Admit(const GenerationRequest& request) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Measured {
    int rows = 0;  // the most, of those that were measured
    int64_t bytes = 0;
  };
  using Sizes = std::map<int64_t, Measured>;  // by pixels

  mutable Mutex mutex_;
  int64_t device_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // of the largest device; 0: not known
  std::map<std::weak_ptr<const PipelineReplicas>, Sizes, std::owner_less<>> measured_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
