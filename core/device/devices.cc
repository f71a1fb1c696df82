#include "core/device/devices.h"

#include <ATen/Context.h>

#include <algorithm>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/status_macros.h"
#include "core/device/cuda_library.h"

namespace denoise {
namespace {

constexpr std::string_view kCudaPrefix = "cuda:";

at::Device CudaDevice(int index) {
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
}

absl::StatusOr<at::Device> ParseDevice(std::string_view name) {
  if (name == "cpu") return at::Device(at::kCPU);
  int index = -1;
  if (name == "cuda") {
    index = 0;
  } else if (name.starts_with(kCudaPrefix)) {
    const std::string digits(name.substr(kCudaPrefix.size()));
    if (!absl::SimpleAtoi(digits, &index)) index = -1;
  }
  if (index < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown device \"", std::string(name),
                     "\": use auto, cpu, cuda, or a list such as cuda:0,cuda:1"));
  }
  if (const absl::Status loaded = LoadCuda(); !loaded.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("no device ", std::string(name), ": ", std::string(loaded.message())));
  }
  const int devices = static_cast<int>(at::getNumGPUs());
  if (index >= devices) {
    return absl::FailedPreconditionError(absl::StrCat(
        "no device ", std::string(name), ": this machine has ", devices, " CUDA devices"));
  }
  return CudaDevice(index);
}

}  // namespace

absl::StatusOr<std::vector<at::Device>> ParseDevices(std::string_view text) {
  if (text == "auto") {
    return ParseDevices(LoadCuda().ok() && at::getNumGPUs() > 0 ? "cuda" : "cpu");
  }
  std::vector<at::Device> devices;
  for (const std::string& name :
       std::vector<std::string>(absl::StrSplit(absl::string_view(text.data(), text.size()), ','))) {
    ASSIGN_OR_RETURN(const at::Device device, ParseDevice(name));
    if (std::find(devices.begin(), devices.end(), device) != devices.end()) {
      return absl::InvalidArgumentError(absl::StrCat("device ", device.str(), " is named twice"));
    }
    devices.push_back(device);
  }
  if (devices.size() > 1 && std::any_of(devices.begin(), devices.end(),
                                        [](at::Device device) { return device.is_cpu(); })) {
    return absl::InvalidArgumentError("cpu cannot be combined with other devices");
  }
  return devices;
}

}  // namespace denoise
