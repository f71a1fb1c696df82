// How much memory of the host LibTorch's tensors take.
#pragma once

#include <cstdint>
#include <functional>

namespace denoise {

// The most bytes that tensors held at any time while `work` ran, beyond those that they held before,
// as far as the calling thread allocated and freed them. May be nested.
int64_t PeakHostMemory(const std::function<void()>& work);

// Gives what the heap keeps of freed memory back to the system, which counts it as free only then.
void ReturnFreedHostMemory();

}  // namespace denoise
