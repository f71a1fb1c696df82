// What the server looks at now and then for its metrics.
#pragma once

#include <c10/core/Device.h>

#include <filesystem>
#include <vector>

#include "server/telemetry/access_log.h"
#include "server/telemetry/resource_watch.h"
#include "server/telemetry/telemetry.h"

namespace denoise {

// The memory of `devices`, the disk of `state` unless it is empty, and what `access_log` has dropped
// unless it is null. What they are given outlives them.
std::vector<ResourceWatch::Look> ResourceLooks(const std::vector<at::Device>& devices,
                                               const std::filesystem::path& state,
                                               const AccessLog* access_log, Telemetry* telemetry);

}  // namespace denoise
