// The devices that --device names.
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

// "cpu", "cuda" (the first), "cuda:0,cuda:1", or "auto": the first CUDA device where there is one,
// else the CPU. Each worker owns a device, so none may be named twice, nor the CPU together with
// others. InvalidArgument says what is wrong; FailedPrecondition where this machine has no such
// device.
absl::StatusOr<std::vector<at::Device>> ParseDevices(std::string_view text);

}  // namespace denoise
