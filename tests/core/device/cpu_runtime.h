// The runtime of the CPU, for tests whose results do not depend on it.
#pragma once

#include <memory>

#include "core/device/device_runtime.h"

namespace denoise {

inline const std::shared_ptr<DeviceRuntime>& CpuRuntime() {
  static const std::shared_ptr<DeviceRuntime> runtime = MakeDeviceRuntime(at::kCPU);
  return runtime;
}

}  // namespace denoise
