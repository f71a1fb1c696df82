// One device and the thread that owns it: the shared denoising loop.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/engine/engine.h"
#include "server/engine/scheduler.h"

namespace denoise {

class Worker {
 public:
  // Starts the thread. `scheduler`, `clock` and `observer` (may be null) outlive the worker.
  Worker(int index, at::Device device, int cpu_threads, Scheduler& scheduler, const Clock& clock,
         EngineObserver* observer);
  ~Worker();  // joins; Scheduler::Stop comes first

 private:
  struct Outputs {
    at::Tensor x0;  // the predicted x0 of every image left in the batch, [images, C, H, W]
    absl::Duration network_time;
  };

  struct Picture {
    ActiveImage* image;
    FrameKind kind = FrameKind::kXt;  // of a frame
    at::Tensor sample;                // [C, H, W] float32 on the CPU
    bool finite = true;
  };
  struct Pictures {
    std::vector<Picture> frames;
    std::vector<Picture> finished;
  };

  void Loop();
  void Run(Batch& batch);
  void Run(const Slice& slice);
  absl::StatusOr<DeviceTask::Outcome> RunSlice(DeviceTask& task) const;
  Outputs Evaluate(Batch& batch);
  void Resume(const Batch& batch, const at::Tensor& x0);

  Outputs EvaluateTogether(const Batch& batch);
  Outputs EvaluateOneByOne(Batch& batch);
  void Begin(ActiveImage& image);
  Pictures TakePictures(const Batch& batch, const at::Tensor& x0) const;
  void SendFrame(Picture frame);
  void Finish(Picture picture);
  void ReportLoad();
  void Report(const Batch& batch, int trajectories, absl::Duration network_time);
  void Synchronize() const;

  const int index_;
  const at::Device device_;
  const std::string device_name_;
  const int cpu_threads_;
  Scheduler& scheduler_;
  const Clock& clock_;
  EngineObserver* const observer_;
  std::thread thread_;
};

}  // namespace denoise
