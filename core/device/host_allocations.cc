#include "core/device/host_allocations.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/alignment.h>
#include <malloc.h>

#include <algorithm>
#include <utility>

namespace denoise {
namespace {

// Of the thread. Bytes that another one allocated may be freed here, so `held` may be negative.
thread_local int64_t held = 0;
thread_local int64_t most_held = 0;

void Count(int64_t bytes) {
  held += bytes;
  most_held = std::max(most_held, held);
}

// LibTorch's own allocator, with a count. Its profiler counts as well, but warns on standard error
// of every tensor that it has not seen from the start.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &Free, c10::Device(c10::kCPU)};
    auto* const block = static_cast<char*>(base_->raw_allocate(kHeader + bytes));
    *reinterpret_cast<size_t*>(block) = bytes;
    Count(static_cast<int64_t>(bytes));
    return {block + kHeader, block + kHeader, &Free, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  // Before each block, with its size. Keeps the alignment.
  static constexpr size_t kHeader = c10::gAlignment;

  static void Free(void* data) {
    if (data == nullptr) return;
    char* const block = static_cast<char*>(data) - kHeader;
    Count(-static_cast<int64_t>(*reinterpret_cast<const size_t*>(block)));
    base_->raw_deallocate(block);
  }

  static inline c10::Allocator* const base_ = c10::GetDefaultCPUAllocator();
};

// Before any thread starts, and after LibTorch has set its own.
[[maybe_unused]] const bool installed = [] {
  c10::SetCPUAllocator(new CountingAllocator);  // to the end of the process
  return true;
}();

}  // namespace

int64_t PeakHostMemory(const std::function<void()>& work) {
  const int64_t held_before = held;
  const int64_t most_before = std::exchange(most_held, held);
  const auto finish = [&] {
    const int64_t peak = most_held - held_before;
    most_held = std::max(most_held, most_before);
    return peak;
  };
  try {
    work();
  } catch (...) {
    finish();
    throw;
  }
  return finish();
}

void ReturnFreedHostMemory() { malloc_trim(0); }

}  // namespace denoise
