// Knows how much memory the process may use, and says when new work has to be refused: before the
// kernel ends the process.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace denoise {

// Thread-safe.
class MemoryGuard {
 public:
  struct Options {
    int64_t limit_bytes;  // as MemoryLimit finds it
    // The process's resident memory.
    std::function<int64_t()> resident_bytes;
    // Gives freed memory back to the kernel.
    std::function<void()> trim;
  };

  explicit MemoryGuard(Options options);

  // Looks at the memory; to be called several times a second. Freed memory that the allocator has
  // kept goes back to the kernel when there is much of it or little left.
  void Check(absl::Time now);

  // OK, or Unavailable with a retry delay while nine tenths of the limit are in use.
  absl::Status Admit() const;

 private:
  const Options options_;
  std::atomic<bool> short_of_memory_ = false;
  int64_t trimmed_bytes_;  // resident after the last trim. Of the thread that calls Check
  absl::Time next_trim_ = absl::InfinitePast();
};

// What may be used: `flag_bytes` if it is positive; else the limit of the control group ("cgroup v2
// or v1"), else the memory of the machine. `root` is "/" outside of tests.
int64_t MemoryLimit(int64_t flag_bytes, const std::string& root = "/");

// Of this process, from /proc. 0 if that cannot be read.
int64_t ResidentBytes();

// MemoryGuard for this process.
MemoryGuard::Options ProcessMemory(int64_t flag_bytes);

}  // namespace denoise
