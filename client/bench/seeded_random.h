// Random numbers that are the same on every machine: the standard fixes its generators, but not its
// distributions.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>

namespace denoise {

// Not thread-safe.
class SeededRandom {
 public:
  explicit SeededRandom(uint64_t seed) : generator_(seed) {}

  // In [0, 1).
  double Uniform() { return static_cast<double>(generator_() >> 11) * 0x1p-53; }
  // Exponentially distributed, with the mean 1.
  double Exponential() { return -std::log1p(-Uniform()); }
  // In [0, size), where size is above 0.
  size_t Below(size_t size) { return static_cast<size_t>(Uniform() * static_cast<double>(size)); }

 private:
  std::mt19937_64 generator_;
};

}  // namespace denoise
