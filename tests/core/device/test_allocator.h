// LibTorch's allocator of the CPU, in front of which a test can put a pool or a fault.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <vector>

namespace denoise {

// Memory that is handed out from its beginning again and again, as the memory of graphs is.
class GraphMemory {
 public:
  at::DataPtr Allocate(size_t size) {
    constexpr size_t kAlignment = 64;
    const size_t begin = (used_ + kAlignment - 1) / kAlignment * kAlignment;
    TORCH_CHECK(begin + size <= bytes_.size(), "the graphs' memory is too small for this test");
    used_ = begin + size;
    return {bytes_.data() + begin, at::Device(at::kCPU)};
  }
  // Takes back what was handed out. Floats there become NaN, and indexes -1.
  void Reclaim() {
    std::memset(bytes_.data(), 0xFF, used_);
    used_ = 0;
  }

 private:
  std::vector<std::byte> bytes_ = std::vector<std::byte>(size_t{32} << 20);
  size_t used_ = 0;
};

class TestAllocator : public c10::Allocator {
 public:
  // Made before other threads allocate. Lives as long as the process.
  static TestAllocator& Get() {
    static TestAllocator& allocator = *new TestAllocator();
    return allocator;
  }

  // While it lives, its thread allocates from `memory`.
  class FromGraphMemory {
   public:
    explicit FromGraphMemory(GraphMemory& memory) { current_ = &memory; }
    ~FromGraphMemory() { current_ = nullptr; }
    FromGraphMemory(const FromGraphMemory&) = delete;
    FromGraphMemory& operator=(const FromGraphMemory&) = delete;
  };

  // Allocations of exactly this many bytes run out of memory; none if 0. Any thread's.
  std::atomic<size_t> failing_size = 0;

  at::DataPtr allocate(size_t size) override {
    if (current_ != nullptr) return current_->Allocate(size);
    TORCH_CHECK_WITH(OutOfMemoryError, size == 0 || size != failing_size, "out of memory");
    return default_.allocate(size);
  }
  void copy_data(void* to, const void* from, std::size_t size) const override {
    default_copy_data(to, from, size);
  }

 private:
  TestAllocator() : default_(*c10::GetCPUAllocator()) { c10::SetCPUAllocator(this); }

  inline static thread_local GraphMemory* current_ = nullptr;
  at::Allocator& default_;
};

}  // namespace denoise
