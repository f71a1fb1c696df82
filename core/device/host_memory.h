// The memory that the CPU's tensors take from.
#pragma once

#include <optional>
#include <string>

#include "core/device/device_runtime.h"

namespace denoise {

// What this process may still take, without swap: of the machine, and of its control group if that
// has less. Files that are only cached count as free. nullopt where /proc does not tell. `root` is
// "/" outside of tests.
std::optional<DeviceMemory> HostMemory(const std::string& root = "/");

}  // namespace denoise
