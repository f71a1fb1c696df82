// How many processor cores this process may use.
#pragma once

#include <string_view>

namespace denoise {

// At least 1: the cores that the scheduler allows, or fewer where a container's CPU quota says so,
// since threads beyond the quota are only throttled.
int UsableCores();

// The cores in a cgroup's cpu.max ("200000 100000" is 2, rounded up); 0 where it sets no limit or
// is malformed.
int CoresOfQuota(std::string_view cpu_max);

}  // namespace denoise
