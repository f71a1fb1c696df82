// The runtime of CUDA devices: pinned uploads, events and graphs. Built as a module of its own with
// CUDA's headers, and opened by LoadCuda where there are CUDA's libraries.
#include <ATen/Context.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <atomic>
#include <exception>
#include <memory>
#include <optional>
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
      (void)cudaGetLastError();  // clears the error so that a later call does not report it
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

// Names the memory that the graphs of a runtime share.
using GraphPool = std::shared_ptr<const c10::MempoolId_t>;

template <class Function>
bool Succeeds(const Function& function) {
  try {
    function();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

std::atomic<c10::DeleterFnPtr> free_pinned = nullptr;  // LibTorch's

// To give pinned memory back, LibTorch marks the uploads from it. That throws where a device has
// failed, and whoever frees a tensor must not: the memory is lost then.
void FreePinned(void* context) {
  Succeeds([context] { free_pinned.load()(context); });
}

// LibTorch's graph, except that a capture which fails ends everywhere.
class CapturedGraph : public at::cuda::CUDAGraph {
 public:
  void Capture(const std::function<void()>& work, c10::MempoolId_t pool) {
    try {
      capture_begin(pool, cudaStreamCaptureModeThreadLocal);
      work();
    } catch (...) {
      Succeeds([this] { capture_end(); });  // fails for the same reason, after ending the capture
      StopRecording();
      throw;
    }
    try {
      capture_end();
    } catch (...) {
      StopRecording();
      throw;
    }
  }

 private:
  // If CUDA has invalidated the capture, capture_end throws before it tells the allocators. They
  // would ask this graph about every later allocation, even after its death. An allocator that is
  // not recording refuses to end; then it has nothing to release, either.
  void StopRecording() {
    namespace device = c10::cuda::CUDACachingAllocator;
    if (Succeeds([this] { device::endAllocateToPool(capture_dev_, mempool_id_); })) {
      device::releasePool(capture_dev_, mempool_id_);
    }
    at::HostAllocator* const host = at::getHostAllocator(at::kCUDA);
    if (Succeeds([&] { host->end_allocate_to_pool(mempool_id_); })) {
      host->release_pool(mempool_id_);
    }
    for (auto& [generator, increment] : captured_generator_states_) generator->capturing_ = false;
  }
};

class CudaGraph : public DeviceGraph {
 public:
  explicit CudaGraph(GraphPool pool) : pool_(std::move(pool)) {}

  void Capture(const std::function<void()>& work) { graph_.Capture(work, *pool_); }
  void Replay() override { graph_.replay(); }

 private:
  const GraphPool pool_;  // see CudaRuntime::Pool
  CapturedGraph graph_;
};

// LibTorch prepares its allocator for the devices when the first tensor is made on one. Until then
// the allocator refuses to say what it holds.
at::Device Initialized(at::Device device) {
  at::globalContext().lazyInitDevice(device.type());
  return device;
}

class CudaRuntime : public DeviceRuntime {
 public:
  explicit CudaRuntime(at::Device device)
      : device_(Initialized(device)),
        capture_stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())) {}

  at::Device device() const override { return device_; }

  // What LibTorch's cache holds without a tensor in it is free, too.
  std::optional<DeviceMemory> Memory() const override {
    namespace allocator = c10::cuda::CUDACachingAllocator;
    const c10::cuda::CUDAGuard device(device_);
    size_t free = 0, total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    const auto stats = allocator::getDeviceStats(device_.index());
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const int64_t cached = stats.reserved_bytes[kAll].current - stats.allocated_bytes[kAll].current;
    return DeviceMemory{.free_bytes = static_cast<int64_t>(free) + cached,
                        .total_bytes = static_cast<int64_t>(total)};
  }

  // The host's calls allocate, whenever the device gets to the work.
  std::optional<int64_t> PeakMemory(const std::function<void()>& work) override {
    namespace allocator = c10::cuda::CUDACachingAllocator;
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    allocator::resetPeakStats(device_.index());
    const int64_t held = allocator::getDeviceStats(device_.index()).allocated_bytes[kAll].current;
    work();
    return allocator::getDeviceStats(device_.index()).allocated_bytes[kAll].peak - held;
  }

  // LibTorch's cache of pinned memory gives a block out again only once its uploads are over. All
  // devices share it, and it may throw where another one has failed.
  at::Tensor HostTensor(at::IntArrayRef sizes, at::ScalarType dtype) override {
    const auto options = at::TensorOptions().dtype(dtype);
    at::Tensor tensor;
    if (!Succeeds([&] { tensor = at::empty(sizes, options.pinned_memory(true)); })) {
      return at::empty(sizes, options);
    }
    at::DataPtr& data = tensor.storage().unsafeGetStorageImpl()->mutable_data_ptr();
    const c10::DeleterFnPtr deleter = data.get_deleter();
    free_pinned = deleter;
    (void)data.compare_exchange_deleter(deleter, &FreePinned);
    return tensor;
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
  // A failed call may leave its error for the next one; the error of a lost context comes again.
  void Check() override {
    const c10::cuda::CUDAGuard device(device_);
    (void)cudaGetLastError();
    at::empty({1}, at::TensorOptions().dtype(at::kFloat).device(device_)).zero_();
    Mark()->Wait();
  }
  bool captures() const override { return true; }

  std::unique_ptr<DeviceGraph> Capture(const std::function<void()>& work) override {
    const c10::cuda::CUDAGuard device(device_);
    const auto stream = c10::cuda::getCurrentCUDAStream(device_.index());
    auto graph = std::make_unique<CudaGraph>(Pool());
    try {
      const c10::cuda::CUDAStreamGuard on_side(capture_stream_);
      CudaMark(stream).BlockStream(capture_stream_);
      for (int i = 0; i < kWarmUps; ++i) work();
      graph->Capture(work);
    } catch (...) {
      // The warm-ups may still write to memory that the caller is about to give back. A device that
      // cannot wait has failed for good, as every later call will say.
      Succeeds([&] { CudaMark(capture_stream_).BlockStream(stream); });
      throw;
    }
    CudaMark(capture_stream_).BlockStream(stream);
    return graph;
  }

 private:
  // The graphs of a runtime are replayed one after the other, and what they leave lies outside of
  // the memory that they take: so they may share that. LibTorch counts the users of a pool and
  // refuses a capture into one that has lost its last, so a pool lives as long as its graphs do.
  GraphPool Pool() {
    GraphPool pool = pool_.lock();
    if (pool == nullptr) {
      pool_ = pool = std::make_shared<const c10::MempoolId_t>(at::cuda::graph_pool_handle());
    }
    return pool;
  }

  const at::Device device_;
  const c10::cuda::CUDAStream capture_stream_;  // capturing is not possible on the default stream
  std::weak_ptr<const c10::MempoolId_t> pool_;  // of the graphs that are alive
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
