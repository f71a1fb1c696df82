#include "server/resource_looks.h"

#include <exception>
#include <memory>
#include <optional>
#include <system_error>

#include "core/device/device_runtime.h"

namespace denoise {
namespace {

// The workers' runtimes are theirs alone. A device that has failed says nothing more: its last
// numbers stay.
ResourceWatch::Look LookAtMemory(const at::Device& device, Telemetry* telemetry) {
  return [device, telemetry, runtime = std::shared_ptr<DeviceRuntime>()]() mutable {
    try {
      if (!runtime) runtime = MakeDeviceRuntime(device);
      const std::optional<DeviceMemory> memory = runtime->Memory();
      if (memory) telemetry->DeviceMemory(device.str(), memory->free_bytes, memory->total_bytes);
    } catch (const std::exception&) {
    }
  };
}

// The folder may not have been made yet: then it will be on the disk of the one above it.
ResourceWatch::Look LookAtDisk(const std::filesystem::path& folder, Telemetry* telemetry) {
  return [folder = std::filesystem::absolute(folder), telemetry] {
    std::error_code error;
    std::filesystem::path existing = folder;
    while (!std::filesystem::exists(existing, error) && existing.has_relative_path()) {
      existing = existing.parent_path();
    }
    const std::filesystem::space_info space = std::filesystem::space(existing, error);
    if (error) return;
    telemetry->StateDisk(static_cast<int64_t>(space.available),
                         static_cast<int64_t>(space.capacity));
  };
}

}  // namespace

std::vector<ResourceWatch::Look> ResourceLooks(const std::vector<at::Device>& devices,
                                               const std::filesystem::path& state,
                                               const AccessLog* access_log, Telemetry* telemetry) {
  std::vector<ResourceWatch::Look> looks;
  for (const at::Device& device : devices) looks.push_back(LookAtMemory(device, telemetry));
  if (!state.empty()) looks.push_back(LookAtDisk(state, telemetry));
  if (access_log != nullptr) {
    looks.push_back([=] { telemetry->AccessLogLinesDropped(access_log->lines_dropped()); });
  }
  return looks;
}

}  // namespace denoise
