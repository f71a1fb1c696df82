// What the CPU kernels' loops are made of. Internal to core/nn.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cstdint>

// Loops are compiled once per instruction set and chosen when the program starts.
// Sanitizers start too late for that choice.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define DENOISE_VECTORIZED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DENOISE_VECTORIZED
#endif

namespace denoise::nn::cpu {

// Elements per task: small enough for a first-level cache, large enough to be worth a thread's
// while.
inline constexpr int64_t kTaskElements = 8192;

template <typename Function>
void ParallelFor(int64_t tasks, int64_t grain, const Function& f) {
#ifdef _OPENMP
  at::parallel_for(0, tasks, grain, f);
#else
  if (tasks > 0 && grain > 0) f(0, tasks);
#endif
}

// exp(x) for -87 <= x <= 88, and beyond these their exp: 2^n exp(r) with |r| <= ln(2) / 2, where a
// polynomial serves (the coefficients are those of Cephes' expf, by Moshier).
inline float Exp(float x) {
  // 1.5 * 2^23: adding it rounds to an integer, which the low bits then hold.
  constexpr float kRound = 12582912.0F;
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  x = std::min(std::max(x, -87.0F), 88.0F);
  const float shifted = x * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float y = (p * r * r + r) + 1.0F;
  const uint32_t exponent = std::bit_cast<uint32_t>(shifted) << 23;  // n, in the exponent's place
  return std::bit_cast<float>(std::bit_cast<uint32_t>(y) + exponent);
}

inline float SiluOf(float x) { return x / (1.0F + Exp(-x)); }

}  // namespace denoise::nn::cpu
