#include "core/device/host_memory.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <map>

namespace denoise {
namespace {

// The numbers of a file of lines such as "MemFree: 12 kB" and "inactive_file 4096", by their keys.
std::map<std::string, int64_t> NumbersIn(const std::string& path) {
  std::ifstream file(path);
  std::map<std::string, int64_t> numbers;
  std::string key, rest;
  for (int64_t number = 0; file >> key >> number && std::getline(file, rest);) {
    numbers[key] = number;
  }
  return numbers;
}

// nullopt where there is no number, as in "max".
std::optional<int64_t> NumberIn(const std::string& path) {
  std::ifstream file(path);
  int64_t number = 0;
  return file >> number ? std::optional(number) : std::nullopt;
}

// Of the control group, version 2, as a container sees its own.
std::optional<DeviceMemory> GroupMemory(const std::string& folder) {
  const auto limit = NumberIn(folder + "memory.max"), used = NumberIn(folder + "memory.current");
  if (!limit || !used) return std::nullopt;
  std::map<std::string, int64_t> numbers = NumbersIn(folder + "memory.stat");
  const int64_t cached = numbers["active_file"] + numbers["inactive_file"];
  return DeviceMemory{.free_bytes = std::max<int64_t>(*limit - *used + cached, 0),
                      .total_bytes = *limit};
}

}  // namespace

std::optional<DeviceMemory> HostMemory(const std::string& root) {
  std::map<std::string, int64_t> machine = NumbersIn(root + "proc/meminfo");
  if (!machine.contains("MemAvailable:") || !machine.contains("MemTotal:")) return std::nullopt;
  const DeviceMemory memory{.free_bytes = machine["MemAvailable:"] << 10,
                            .total_bytes = machine["MemTotal:"] << 10};
  const std::optional<DeviceMemory> group = GroupMemory(root + "sys/fs/cgroup/");
  return group && group->free_bytes < memory.free_bytes ? group : memory;
}

}  // namespace denoise
