// What a denoising loop needs of its device besides tensors: uploads that do not block the host,
// marks in the stream of work, and graphs that replay work.
//
// The interface names nothing of CUDA. The runtime made here serves every device that LibTorch
// knows, without graphs; a module that is built with CUDA's headers (cuda_runtime.cc) registers a
// better one for its devices.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/time/time.h"

namespace denoise {

// A point in the work of a device.
class DeviceMark {
 public:
  virtual ~DeviceMark() = default;
  // Whether the device has finished everything before the mark. Does not wait.
  virtual bool reached() const = 0;
  // Blocks the calling thread until the mark is reached. Throws c10::Error where the device failed.
  virtual void Wait() = 0;
  // The device's time from `earlier`, a mark of the same runtime, to this one. Both are reached.
  virtual absl::Duration Since(const DeviceMark& earlier) const = 0;
};

// Captured work that can be run again on the same memory.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  virtual void Replay() = 0;
};

// What a device has for tensors.
struct DeviceMemory {
  int64_t free_bytes = 0;
  int64_t total_bytes = 0;
};

// Used by one thread at a time, on that thread's current stream. All methods throw c10::Error where
// the device fails.
class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;

  virtual at::Device device() const = 0;
  // nullopt where it is not known.
  virtual std::optional<DeviceMemory> Memory() const { return std::nullopt; }

  // Calls `work`, and returns the most memory of the device that tensors held meanwhile beyond what
  // they held before, in bytes. nullopt where it is not known.
  virtual std::optional<int64_t> PeakMemory(const std::function<void()>& work) {
    work();
    return std::nullopt;
  }

  // Uninitialised host memory that uploads fast: pinned where the device has its own memory.
  // May be released while an upload from it still runs.
  virtual at::Tensor HostTensor(at::IntArrayRef sizes, at::ScalarType dtype) = 0;

  // Returns `host` on the device: `host` itself on the CPU, elsewhere a copy in stream order that
  // the calling thread does not wait for. `host` comes from HostTensor and is not changed
  // afterwards.
  virtual at::Tensor Upload(const at::Tensor& host) = 0;
  // The same, into a tensor of the device that has the shape and dtype of `host`.
  virtual void UploadInto(const at::Tensor& host, const at::Tensor& to) = 0;

  // Marks the end of the work queued so far.
  virtual std::shared_ptr<DeviceMark> Mark() = 0;

  // Waits until the device has done a piece of work. Throws where it does none any more: then it has
  // failed for good, as far as this process is concerned.
  virtual void Check() { Mark()->Wait(); }

  // Whether Capture may be called.
  virtual bool captures() const = 0;
  // Records what `work` queues, calling it a few times. `work` copies nothing from or to the host
  // and waits for nothing. What it wrote is undefined until the first Replay. The graph keeps the
  // memory that `work` allocated; everything else that `work` uses must outlive the graph.
  virtual std::unique_ptr<DeviceGraph> Capture(const std::function<void()>& work) = 0;
};

using DeviceRuntimeFactory = std::shared_ptr<DeviceRuntime> (*)(at::Device device);

// Makes `factory` the source of runtimes for devices of `type`. Called before threads start.
void RegisterDeviceRuntime(at::DeviceType type, DeviceRuntimeFactory factory);

// Makes a runtime. The graphs of one runtime share memory, so the owner of a device or a task makes
// one and passes it on.
std::shared_ptr<DeviceRuntime> MakeDeviceRuntime(at::Device device);

// Uploads a copy of `host`, which may lie in any memory of the host and may be changed afterwards.
// As DeviceRuntime::Upload, the calling thread does not wait for it.
at::Tensor UploadCopy(const at::Tensor& host, DeviceRuntime& runtime);

}  // namespace denoise
