// Measures how long evaluations of a new model take, before requests ask.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/device/device_runtime.h"
#include "core/pipeline/pipeline.h"
#include "server/engine/memory_budget.h"
#include "server/scheduling/device_task.h"

namespace denoise {

// Evaluates 1, 2, 4, ... rows of the model's own size, a few times each, up to `max_rows` or until
// more rows no longer raise the throughput, or the device's memory or `budget` is used up. One
// evaluation is a slice. What they take of memory goes to a MemoryBudget. Evaluations of requests
// refine what it has measured.
class MeasurementTask final : public DeviceTask {
 public:
  struct Options {
    int max_rows = 16;
    absl::Duration budget = absl::Seconds(5);  // of the device's time
  };
  // An evaluation of so many rows took so long.
  using Record = std::function<void(int rows, absl::Duration time)>;

  // Measures the replica of device `index`, unless `pipelines` are gone by then. `clock` and
  // `memory` outlive it.
  MeasurementTask(std::weak_ptr<const PipelineReplicas> pipelines, size_t index,
                  const Options& options, const Clock* clock, MemoryBudget* memory, Record record);

  Kind kind() const override { return Kind::kMeasurement; }
  Outcome RunSlice() override;
  void OnFailed(const absl::Status& status) override;

 private:
  absl::Duration Evaluate(const Network& network);
  bool HasMemory(const MemoryBudget::Pipelines& pipelines, int64_t pixels) const;
  bool RisesNoMore() const;

  const std::weak_ptr<const PipelineReplicas> pipelines_;
  const size_t index_;
  const Options options_;
  const Clock* const clock_;
  MemoryBudget* const memory_;
  const Record record_;

  // Of the worker's thread.
  std::shared_ptr<DeviceRuntime> runtime_;
  absl::Duration used_;
  int rows_ = 1;
  int runs_ = 0;                      // of rows_, so far
  absl::Duration fastest_;            // of these
  std::optional<double> throughput_;  // of half as many rows
};

}  // namespace denoise
