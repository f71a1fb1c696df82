// The boundary where LibTorch's exceptions become statuses.
#pragma once

#include <exception>
#include <string>

#include "absl/status/status.h"
#include "core/device/device_runtime.h"

namespace denoise {

// What `error` says, in one line; a c10::Error's own what() holds a stack trace. For the log.
std::string DescribeError(const std::exception& error);

// Whether a device, or the host, had no memory left.
bool IsOutOfMemory(const std::exception& error);

// Whether a device still works, after an error of it. False: it has failed for good, as a GPU has
// whose kernel has accessed memory that it may not, and only another process can use it again.
bool Works(DeviceRuntime& runtime);
// The same of a device that nobody has a runtime of.
bool Works(at::Device device);

// ResourceExhausted where memory ran out, else Internal; says what `error` says.
absl::Status DeviceError(const std::exception& error);

// What `function`, which returns a StatusOr, returns; a DeviceError where it throws.
template <class Function>
auto CatchDeviceErrors(Function function) -> decltype(function()) {
  try {
    return function();
  } catch (const std::exception& error) {
    return DeviceError(error);
  }
}

}  // namespace denoise
