// A device with graphs for tests that need no GPU.
#pragma once

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <functional>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "core/device/device_runtime.h"
#include "tests/core/device/test_allocator.h"

namespace denoise {

// The CPU, in the role of a device that has its own memory: an upload is a copy. Its graphs do the
// work again in memory that they share, and that is overwritten as soon as a capture or a replay is
// over: whoever reads a result there finds NaN. One thread at a time.
class CapturingRuntime : public DeviceRuntime {
 public:
  at::Device device() const override { return at::kCPU; }
  at::Tensor HostTensor(at::IntArrayRef sizes, at::ScalarType dtype) override {
    return at::empty(sizes, at::TensorOptions().dtype(dtype));
  }
  at::Tensor Upload(const at::Tensor& host) override {
    if (on_upload) on_upload();
    return host.clone();
  }
  void UploadInto(const at::Tensor& host, const at::Tensor& to) override {
    if (on_upload) on_upload();
    to.copy_(host);
  }
  std::shared_ptr<DeviceMark> Mark() override { return std::make_shared<PassedMark>(*this); }
  bool captures() const override { return true; }

  std::unique_ptr<DeviceGraph> Capture(const std::function<void()>& work) override {
    ++captured;
    for (int i = 0; i < 2; ++i) work();
    capturing_ = true;
    const absl::Cleanup end = [this] { capturing_ = false; };
    RunInGraphMemory([&] {
      work();
      if (on_capture) on_capture();
    });
    return std::make_unique<Graph>(*this, work);
  }

  int captured = 0;  // attempts
  int replayed = 0;
  int graphs() const { return graphs_; }  // alive
  // Called after the work of a capture, of an upload or before a replay. May throw.
  std::function<void()> on_capture, on_upload, on_replay;

 private:
  class PassedMark : public DeviceMark {
   public:
    explicit PassedMark(const CapturingRuntime& runtime) : runtime_(runtime) {}
    bool reached() const override { return true; }
    void Wait() override {
      TORCH_CHECK(!runtime_.capturing_, "waiting is not permitted while capturing");
    }
    absl::Duration Since(const DeviceMark&) const override { return absl::ZeroDuration(); }

   private:
    const CapturingRuntime& runtime_;
  };

  class Graph : public DeviceGraph {
   public:
    Graph(CapturingRuntime& runtime, std::function<void()> work)
        : runtime_(runtime), work_(std::move(work)) {
      ++runtime_.graphs_;
    }
    ~Graph() override { --runtime_.graphs_; }
    void Replay() override {
      if (runtime_.on_replay) runtime_.on_replay();
      ++runtime_.replayed;
      runtime_.RunInGraphMemory(work_);
    }

   private:
    CapturingRuntime& runtime_;
    const std::function<void()> work_;
  };

  void RunInGraphMemory(const std::function<void()>& work) {
    TestAllocator::Get();
    const absl::Cleanup reclaim = [this] { memory_.Reclaim(); };
    const TestAllocator::FromGraphMemory from_memory(memory_);
    work();
  }

  GraphMemory memory_;
  bool capturing_ = false;
  int graphs_ = 0;
};

}  // namespace denoise
