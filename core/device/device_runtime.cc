#include "core/device/device_runtime.h"

#include <ATen/ops/empty.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <chrono>
#include <map>
#include <utility>

#include "core/device/host_allocations.h"
#include "core/device/host_memory.h"

namespace denoise {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

// The device was waited for before the mark was made.
class TimeMark : public DeviceMark {
 public:
  bool reached() const override { return true; }
  void Wait() override {}
  absl::Duration Since(const DeviceMark& earlier) const override {
    return absl::FromChrono(time_ - static_cast<const TimeMark&>(earlier).time_);
  }

 private:
  const SteadyTime time_ = std::chrono::steady_clock::now();
};

// Marks wait for the device, so that the host never runs ahead of it.
class PlainRuntime : public DeviceRuntime {
 public:
  explicit PlainRuntime(at::Device device) : device_(device) {}

  at::Device device() const override { return device_; }
  std::optional<DeviceMemory> Memory() const override {
    return device_.is_cpu() ? HostMemory() : std::nullopt;
  }
  std::optional<int64_t> PeakMemory(const std::function<void()>& work) override {
    return device_.is_cpu() ? PeakHostMemory(work) : DeviceRuntime::PeakMemory(work);
  }
  at::Tensor HostTensor(at::IntArrayRef sizes, at::ScalarType dtype) override {
    return at::empty(sizes, at::TensorOptions().dtype(dtype));
  }
  at::Tensor Upload(const at::Tensor& host) override { return host.to(device_); }
  void UploadInto(const at::Tensor& host, const at::Tensor& to) override { to.copy_(host); }
  std::shared_ptr<DeviceMark> Mark() override {
    if (!device_.is_cpu()) {
      c10::impl::VirtualGuardImpl(device_.type()).getStream(device_).synchronize();
    }
    return std::make_shared<TimeMark>();
  }
  bool captures() const override { return false; }
  std::unique_ptr<DeviceGraph> Capture(const std::function<void()>&) override {
    TORCH_CHECK(false, "no graphs on ", device_);
  }

 private:
  const at::Device device_;
};

std::map<at::DeviceType, DeviceRuntimeFactory>& Factories() {
  static auto& factories = *new std::map<at::DeviceType, DeviceRuntimeFactory>();
  return factories;
}

}  // namespace

void RegisterDeviceRuntime(at::DeviceType type, DeviceRuntimeFactory factory) {
  Factories()[type] = factory;
}

std::shared_ptr<DeviceRuntime> MakeDeviceRuntime(at::Device device) {
  const auto factory = Factories().find(device.type());
  if (factory != Factories().end()) return factory->second(device);
  return std::make_shared<PlainRuntime>(device);
}

at::Tensor UploadCopy(const at::Tensor& host, DeviceRuntime& runtime) {
  const at::Tensor staged = runtime.HostTensor(host.sizes(), host.scalar_type());
  staged.copy_(host);
  return runtime.Upload(staged);
}

}  // namespace denoise
