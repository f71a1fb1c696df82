// A device that fails for good, for tests that need no GPU.
#pragma once

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "core/device/device_runtime.h"

namespace denoise {

// The CPU, in the role of a device that loses its context: from then on every call throws, as CUDA's
// calls do. One thread owns a device, so each thread that uses such runtimes has a device of its own.
class FailingRuntime : public DeviceRuntime {
 public:
  // Makes every runtime of the CPU one of these. Called before threads start.
  static void Register() {
    RegisterDeviceRuntime(at::kCPU, [](at::Device) -> std::shared_ptr<DeviceRuntime> {
      return std::make_shared<FailingRuntime>();
    });
  }

  // From now on the device of this thread does not work.
  static void FailDevice() { failed_ = true; }
  // From the next use on, the device of the thread that uses it does not work.
  inline static std::atomic<bool> next_fails = false;
  // While this is true, no device works.
  inline static std::atomic<bool> all_fail = false;

  at::Device device() const override { return at::kCPU; }
  std::optional<DeviceMemory> Memory() const override {
    ThrowIfFailed();
    return std::nullopt;
  }
  at::Tensor HostTensor(at::IntArrayRef sizes, at::ScalarType dtype) override {
    ThrowIfFailed();
    return at::empty(sizes, at::TensorOptions().dtype(dtype));
  }
  at::Tensor Upload(const at::Tensor& host) override {
    ThrowIfFailed();
    return host;
  }
  void UploadInto(const at::Tensor& host, const at::Tensor& to) override {
    ThrowIfFailed();
    to.copy_(host);
  }
  std::shared_ptr<DeviceMark> Mark() override {
    ThrowIfFailed();
    return std::make_shared<PassedMark>();
  }
  bool captures() const override { return false; }
  std::unique_ptr<DeviceGraph> Capture(const std::function<void()>&) override {
    TORCH_CHECK(false, "no graphs here");
  }

  static void ThrowIfFailed() {
    if (next_fails.exchange(false)) failed_ = true;
    TORCH_CHECK(!failed_ && !all_fail,
                "CUDA error: an illegal memory access was encountered\nmore lines follow");
  }

 private:
  // Like an event of CUDA, it cannot be waited for once the device has failed.
  class PassedMark : public DeviceMark {
   public:
    bool reached() const override {
      ThrowIfFailed();
      return true;
    }
    void Wait() override { ThrowIfFailed(); }
    absl::Duration Since(const DeviceMark&) const override { return absl::Milliseconds(1); }
  };

  inline static thread_local bool failed_ = false;
};

}  // namespace denoise
