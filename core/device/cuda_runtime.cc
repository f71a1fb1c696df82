// The runtime of CUDA devices: pinned uploads, events and graphs. Built as a module of its own with
// CUDA's headers, and opened by LoadCuda where there are CUDA's libraries.
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <exception>
#include <utility>

#include "core/device/device_runtime.h"

namespace denoise {
namespace {

constexpr int kWarmUps = 2;  // kernels are chosen and workspaces taken before the capture

// Keeps time, and lets the thread that waits sleep. LibTorch's own event class would do, but its
// header includes those of cuBLAS and its like.
class Event {
 public:
  Event() { C10_CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventBlockingSync)); }
  ~Event() { C10_CUDA_CHECK_WARN(cudaEventDestroy(event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaMark : public DeviceMark {
 public:
  explicit CudaMark(c10::cuda::CUDAStream stream) {
    C10_CUDA_CHECK(cudaEventRecord(event_.get(), stream));
  }

  bool reached() const override {
    const cudaError_t status = cudaEventQuery(event_.get());
    if (status == cudaErrorNotReady) {
      (void)cudaGetLastError();  // which is not to be taken for a later call's
      return false;
    }
    C10_CUDA_CHECK(status);
    return true;
  }
  void Wait() override { C10_CUDA_CHECK(cudaEventSynchronize(event_.get())); }
  absl::Duration Since(const DeviceMark& earlier) const override {
    float milliseconds = 0;
    C10_CUDA_CHECK(cudaEventElapsedTime(
        &milliseconds, static_cast<const CudaMark&>(earlier).event_.get(), event_.get()));
    return absl::Milliseconds(milliseconds);
  }
  void BlockStream(c10::cuda::CUDAStream stream) const {
    C10_CUDA_CHECK(cudaStreamWaitEvent(stream, event_.get(), 0));
  }

 private:
  Event event_;
};

class CudaGraph : public DeviceGraph {
 public:
  // A capture that fails must end, too, or the stream is of no use any more.
  void Capture(const std::function<void()>& work, c10::MempoolId_t pool) {
    graph_.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      EndFailedCapture();
      throw;
    }
    graph_.capture_end();
  }
  void Replay() override { graph_.replay(); }

 private:
  void EndFailedCapture() {
    try {
      graph_.capture_end();
    } catch (const std::exception&) {  // says again what failed
    }
  }

  at::cuda::CUDAGraph graph_;
};

class CudaRuntime : public DeviceRuntime {
 public:
  explicit CudaRuntime(at::Device device)
      : device_(device),
        capture_stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())),
        pool_(at::cuda::graph_pool_handle()) {}

  at::Device device() const override { return device_; }

  // LibTorch's cache of pinned memory gives a block out again only once its uploads are over.
  at::Tensor HostTensor(at::IntArrayRef sizes, at::ScalarType dtype) override {
    return at::empty(sizes, at::TensorOptions().dtype(dtype).pinned_memory(true));
  }
  at::Tensor Upload(const at::Tensor& host) override {
    return host.to(device_, /*non_blocking=*/true);
  }
  void UploadInto(const at::Tensor& host, const at::Tensor& to) override {
    to.copy_(host, /*non_blocking=*/true);
  }
  std::shared_ptr<DeviceMark> Mark() override {
    const c10::cuda::CUDAGuard device(device_);
    return std::make_shared<CudaMark>(c10::cuda::getCurrentCUDAStream(device_.index()));
  }
  bool captures() const override { return true; }

  // The graphs of a runtime are replayed one after the other, and what they leave lies outside of
  // the memory that they take: so they may share that.
  std::unique_ptr<DeviceGraph> Capture(const std::function<void()>& work) override {
    const c10::cuda::CUDAGuard device(device_);
    const auto stream = c10::cuda::getCurrentCUDAStream(device_.index());
    auto graph = std::make_unique<CudaGraph>();
    {
      const c10::cuda::CUDAStreamGuard on_side(capture_stream_);
      CudaMark(stream).BlockStream(capture_stream_);
      for (int i = 0; i < kWarmUps; ++i) work();
      graph->Capture(work, pool_);
    }
    CudaMark(capture_stream_).BlockStream(stream);
    return graph;
  }

 private:
  const at::Device device_;
  const c10::cuda::CUDAStream capture_stream_;  // capturing is not possible on the default stream
  const c10::MempoolId_t pool_;
};

std::shared_ptr<DeviceRuntime> MakeCudaRuntime(at::Device device) {
  return std::make_shared<CudaRuntime>(device);
}

}  // namespace
}  // namespace denoise

// What LoadCuda asks the module for.
extern "C" __attribute__((visibility("default"))) denoise::DeviceRuntimeFactory
DenoiseCudaRuntimeFactory() {
  return &denoise::MakeCudaRuntime;
}
