#include "core/diffusion/device_errors.h"

#include <c10/util/Exception.h>

#include <new>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace denoise {

// The allocator of the CPU throws a plain c10::Error: "can't allocate memory", "not enough memory".
// So do calls of CUDA that bypass LibTorch's allocator, as the making of graphs does.
bool IsOutOfMemory(const std::exception& error) {
  const std::string text = DescribeError(error);
  return dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
         dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
         absl::StrContains(text, "DefaultCPUAllocator") ||
         absl::StrContains(text, "CUDA error: out of memory");
}

std::string DescribeError(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string text =
      torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

bool Works(DeviceRuntime& runtime) {
  try {
    runtime.Check();
    return true;
  } catch (const std::exception& error) {
    return IsOutOfMemory(error);
  }
}

bool Works(at::Device device) {
  try {
    return Works(*MakeDeviceRuntime(device));
  } catch (const std::exception& error) {
    return IsOutOfMemory(error);
  }
}

absl::Status DeviceError(const std::exception& error) {
  const std::string text = DescribeError(error);
  if (IsOutOfMemory(error)) {
    return absl::ResourceExhaustedError(absl::StrCat("the device is out of memory: ", text));
  }
  return absl::InternalError(absl::StrCat("the device failed: ", text));
}

}  // namespace denoise
