// One device and the thread that owns it: the shared denoising loop.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/engine/active_generation.h"
#include "server/engine/engine.h"
#include "server/scheduling/scheduler.h"

namespace denoise {

class Worker {
 public:
  // Starts the thread. `scheduler`, `clock` and `observer` (may be null) outlive the worker.
  Worker(int index, at::Device device, int cpu_threads, Scheduler& scheduler, const Clock& clock,
         EngineObserver* observer);
  ~Worker();  // joins; Scheduler::Stop comes first

 private:
  using Images = std::vector<ActiveImage*>;

  struct Evaluated {
    Images images;  // without those that failed alone
    at::Tensor x0;  // predicted for each of them, [images, C, H, W]
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
  void Run(const Batch& batch);
  void Run(const Slice& slice);
  absl::StatusOr<DeviceTask::Outcome> RunSlice(DeviceTask& task) const;
  Evaluated Evaluate(const Images& images);
  void Resume(const Images& images, const at::Tensor& x0);

  Evaluated EvaluateTogether(const Images& images);
  Evaluated EvaluateOneByOne(const Images& images);
  void Begin(ActiveImage& image);
  Pictures TakePictures(const Images& images, const at::Tensor& x0) const;
  void SendFrame(Picture frame);
  void Finish(Picture picture);
  void ReportLoad();
  void Report(const Batch& batch, absl::Duration network_time);
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
