#include "server/cores.h"

#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace denoise {
namespace {

constexpr char kCpuMaxFile[] = "/sys/fs/cgroup/cpu.max";  // as a container sees its own cgroup

int AllowedCores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0) return CPU_COUNT(&cores);
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

int CoresOfQuota(std::string_view cpu_max) {
  const std::vector<std::string> parts = absl::StrSplit(
      absl::string_view(cpu_max.data(), cpu_max.size()), absl::ByAnyChar(" \n"), absl::SkipEmpty());
  int64_t quota = 0, period = 0;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &quota) ||
      !absl::SimpleAtoi(parts[1], &period) || quota <= 0 || period <= 0) {
    return 0;
  }
  return static_cast<int>(std::min<int64_t>((quota - 1) / period + 1, CPU_SETSIZE));
}

int UsableCores() {
  std::string cpu_max;
  std::ifstream file(kCpuMaxFile);
  std::getline(file, cpu_max);
  const int allowed = std::max(1, AllowedCores());
  const int quota = CoresOfQuota(cpu_max);
  return quota == 0 ? allowed : std::min(allowed, quota);
}

}  // namespace denoise
