// The seed of a request that names none.
#pragma once

#include <cstdint>
#include <random>

namespace denoise {

// 32 bits are plenty of images, and short enough to be typed again. Thread-safe.
inline uint64_t ChooseSeed() { return std::random_device()(); }

}  // namespace denoise
