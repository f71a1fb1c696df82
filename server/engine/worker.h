// One device and the thread that owns it: the shared denoising loop.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/device/device_runtime.h"
#include "core/pipeline/begin.h"
#include "server/engine/active_generation.h"
#include "server/engine/engine.h"
#include "server/engine/memory_budget.h"
#include "server/engine/model_loops.h"
#include "server/engine/pictures.h"
#include "server/engine/worker_reports.h"
#include "server/scheduling/scheduler.h"

namespace denoise {

// The host runs at most one evaluation ahead of its device: it waits for an evaluation only where
// an image or a frame of it goes to the host, or where the next but one is about to begin. So a
// device need not wait for the host, and a cancellation still takes effect at once.
//
// After every error but a lack of memory the worker checks its device. A request that fails on a
// device that works fails alone. A device that does not ends the turn, wherever it stands: its
// images begin again on other devices (Scheduler::FailWorker), and the thread lives on to end tasks.
class Worker {
 public:
  // Starts the thread, which owns device `index` of `options`. All references and `observer` (may be
  // null) outlive the worker.
  Worker(int index, const Engine::Options& options, Scheduler& scheduler, MemoryBudget& memory,
         const Clock& clock, EngineObserver* observer);
  ~Worker();  // joins; Scheduler::Stop comes first

 private:
  using Images = std::vector<ActiveImage*>;
  using Pipelines = std::shared_ptr<const PipelineReplicas>;

  struct NetworkCall {
    int rows = 0;
    int padded_rows = 0;  // beside those
    std::shared_ptr<DeviceMark> began;
    std::shared_ptr<DeviceMark> ended;
  };
  struct BatchResult {
    Images images;  // without those that failed alone
    // Predicted by each call, [images of the call, C, H, W]: one call for all, or one for each.
    std::vector<at::Tensor> x0;
    std::vector<NetworkCall> calls;
  };
  // A batch whose network calls the device may not have finished.
  struct Pending {
    Pipelines pipelines;
    int64_t height, width;  // of x
    std::vector<NetworkCall> calls;
    EvaluationReport report;  // without the network's time
  };

  void Loop();
  void RunTurn(const Turn& turn);
  void Run(const Batch& batch);
  // The turns of a batch, by stage.
  void RunEncode(const Images& images);
  void AfterEncoding(ActiveImage& image);
  EncodedConditions EncodeTogether(const Images& images) const;
  void RunEvaluate(const Batch& batch, const Images& images);
  void RunDecode(ActiveImage& image);
  void Run(const Slice& slice);
  void Run(const Check& check);
  absl::StatusOr<DeviceTask::Outcome> RunSlice(DeviceTask& task) const;
  // Called in the handler of every exception: throws DeviceFailure where the device has failed.
  void EndTurnIfDeviceFailed(const std::exception& error) const;
  void OnDeviceFailed(const std::string& what);
  BatchResult Evaluate(const Images& images);
  void Resume(const Images& images, const std::vector<at::Tensor>& x0);

  BatchResult EvaluateTogether(const Images& images);
  BatchResult EvaluateInParts(const Images& images, size_t part_size);
  BatchResult EvaluateAlone(ActiveImage* image);
  void AddMemory();
  // What an image fails with: Internal, or where memory ran out ResourceExhausted with what has
  // fit.
  absl::Status Failed(std::string_view what, const std::exception& error,
                      const ActiveImage& image) const;
  void Begin(ActiveImage& image, const EncodedConditions& encoded);
  void SendFrame(Picture frame);
  void Finish(Picture picture);
  void Report(const Batch& batch, Pipelines pipelines, const SampleShape& shape,
              std::vector<NetworkCall> calls);
  // Waits until at most `allowed` batches are pending, and reports those that the device has
  // finished.
  void Settle(size_t allowed);
  void ReportOldest();
  // Settles everything first, since an unsettled batch keeps its model alive.
  void ReleaseUnused();

  const int index_;
  const Engine::Options& options_;  // the engine's
  const at::Device device_;
  const std::string device_name_;
  Scheduler& scheduler_;
  MemoryBudget& memory_;
  const Clock& clock_;
  const WorkerReports reports_;

  // Of the thread.
  bool device_failed_ = false;
  std::shared_ptr<DeviceRuntime> runtime_;
  std::optional<ModelLoops> loops_;
  std::deque<Pending> pending_;

  std::thread thread_;  // last: it uses everything above
};

}  // namespace denoise
