#include "server/connections/memory_guard.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/retry.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

constexpr double kAdmitBelow = 0.9;  // of the limit
constexpr int64_t kTrimAfterGrowth = 128 << 20;
constexpr absl::Duration kTrimInterval = absl::Seconds(2);
constexpr absl::Duration kRetryDelay = absl::Seconds(2);

// The number that a file begins with; nullopt where there is none, as in "max".
std::optional<int64_t> NumberIn(const std::string& path) {
  std::ifstream file(path);
  int64_t number = 0;
  if (!(file >> number) || number <= 0) return std::nullopt;
  return number;
}

int64_t MachineBytes(const std::string& root) {
  std::ifstream file(root + "proc/meminfo");
  std::string key;
  int64_t kilobytes = 0;
  if (file >> key >> kilobytes && key == "MemTotal:") return kilobytes << 10;
  return std::numeric_limits<int64_t>::max();
}

}  // namespace

MemoryGuard::MemoryGuard(Options options)
    : options_(std::move(options)), trimmed_bytes_(options_.resident_bytes()) {}

void MemoryGuard::Check(absl::Time now) {
  int64_t resident = options_.resident_bytes();
  const auto limit = static_cast<int64_t>(kAdmitBelow * static_cast<double>(options_.limit_bytes));
  if (now >= next_trim_ && (resident >= limit || resident - trimmed_bytes_ > kTrimAfterGrowth)) {
    options_.trim();
    resident = options_.resident_bytes();
    trimmed_bytes_ = resident;
    next_trim_ = now + kTrimInterval;
  }
  trimmed_bytes_ = std::min(trimmed_bytes_, resident);
  const bool is_short = resident >= limit;
  if (short_of_memory_.exchange(is_short) == is_short) return;
  LogEvent(is_short ? spdlog::level::warn : spdlog::level::info,
           is_short ? "short of memory" : "enough memory again",
           {{"resident_mib", resident >> 20}, {"limit_mib", options_.limit_bytes >> 20}});
}

absl::Status MemoryGuard::Admit() const {
  if (!short_of_memory_) return absl::OkStatus();
  return UnavailableRetryAfter(
      "the server is short of memory and takes no new work; try again later", kRetryDelay);
}

int64_t MemoryLimit(int64_t flag_bytes, const std::string& root) {
  if (flag_bytes > 0) return flag_bytes;
  const int64_t machine = MachineBytes(root);
  for (const char* file :
       {"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    if (const auto limit = NumberIn(root + file)) return std::min(*limit, machine);
  }
  return machine;
}

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0, resident = 0;
  if (!(file >> total >> resident)) return 0;
  return resident * sysconf(_SC_PAGESIZE);
}

MemoryGuard::Options ProcessMemory(int64_t flag_bytes) {
  return {.limit_bytes = MemoryLimit(flag_bytes), .resident_bytes = &ResidentBytes, .trim = [] {
            malloc_trim(0);
          }};
}

}  // namespace denoise
