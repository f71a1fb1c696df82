// What a worker tells the engine's observer.
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "server/engine/active_generation.h"
#include "server/engine/engine.h"
#include "server/scheduling/scheduler.h"

namespace denoise {

// The images that take part in a turn: the engine submits generations only.
std::vector<ActiveImage*> ImagesOf(const Batch& batch);

// Belongs to the worker's thread.
class WorkerReports {
 public:
  // Of the worker of device `index`, called `device` ("cuda:0"). `observer` may be null; then nobody
  // hears anything. All that is referred to outlives it.
  WorkerReports(int index, std::string device, const Scheduler& scheduler, const Clock& clock,
                EngineObserver* observer);

  // The turn that is about to run, or that there is none.
  void Turn(const Batch& batch) const;
  void Turn(const Slice& slice) const;
  void Turn(const Check&) const {}
  void Turn(TurnReport turn) const;

  void Load() const;  // the queue, and what is in the loop
  void BatchFailed(const std::exception& error) const;
  void CaptureFailed(const std::exception& error) const;
  void Evaluated(const EvaluationReport& report) const;
  void Encoded(absl::Duration duration) const;
  void Decoded(const DecodeReport& report) const;
  void SliceEnded(const DeviceTask& task, absl::Duration duration) const;
  void TaskFailed(const absl::Status& status) const;

 private:
  ImageInTurn Describe(const ActiveImage& image, Stage stage) const;

  const int index_;
  const std::string device_;
  const Scheduler& scheduler_;
  const Clock& clock_;
  EngineObserver* const observer_;
};

}  // namespace denoise
