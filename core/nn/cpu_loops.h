// The building blocks of the CPU kernels' loops. Internal to core/nn.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <bit>
#include <cstdint>

// Compiles a function once per instruction set; the program chooses one when it starts. Sanitizers
// start too late for that choice.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define DENOISE_VECTORIZED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DENOISE_VECTORIZED
#endif

namespace denoise::nn::cpu {

// Elements per task: small enough for a first-level cache, large enough to occupy a thread.
inline constexpr int64_t kTaskElements = 8192;

template <typename Function>
void ParallelFor(int64_t tasks, int64_t grain, const Function& f) {
#ifdef _OPENMP
  at::parallel_for(0, tasks, grain, f);
#else
  if (tasks > 0 && grain > 0) f(0, tasks);
#endif
}

// exp(x), with x clamped to [-87, 88], as 2^n exp(r). For |r| <= ln(2) / 2 a polynomial
// approximates exp(r), with the coefficients of Cephes' expf by Moshier.
inline float Exp(float x) {
  // 1.5 * 2^23: adding it rounds to an integer in the low bits.
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

// A row's pixels, cut into pieces of equal size, except for the last.
struct Pieces {
  int64_t pixels;  // of a row
  int64_t piece;   // pixels of a piece
  int64_t count;

  Pieces(int64_t pixels_of_row, int64_t channels)
      : pixels(pixels_of_row),
        piece(std::max<int64_t>(1, kTaskElements / channels)),
        count((pixels + piece - 1) / piece) {}

  int64_t First(int64_t index) const { return index * piece; }
  int64_t Size(int64_t index) const { return std::min(piece, pixels - index * piece); }
};

// A row of [B, C] float32; null if the tensor is undefined.
inline const float* RowOf(const at::Tensor& tensor, int64_t row, int64_t channels) {
  return tensor.defined() ? tensor.data_ptr<float>() + row * channels : nullptr;
}

}  // namespace denoise::nn::cpu
