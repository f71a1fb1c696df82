#include "core/nn/cpu_tokens.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <vector>

#include "core/nn/cpu_loops.h"

namespace denoise::nn::cpu {
namespace {

// Sums run in this many lanes, channel c in lane c % kLanes, whatever the machine's vectors hold.
constexpr int64_t kLanes = 16;

double Total(const float* lanes) {
  double total = 0;
  for (int64_t l = 0; l < kLanes; ++l) total += lanes[l];
  return total;
}

DENOISE_VECTORIZED
void SumLoop(const float* x, int64_t channels, float* __restrict lanes) {
  std::fill_n(lanes, kLanes, 0.0F);
  const int64_t whole = channels / kLanes * kLanes;
  for (int64_t c = 0; c < whole; c += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += x[c + l];
  }
  for (int64_t c = whole; c < channels; ++c) lanes[c - whole] += x[c];
}

DENOISE_VECTORIZED
void SquaresLoop(const float* x, int64_t channels, float mean, float* __restrict lanes) {
  std::fill_n(lanes, kLanes, 0.0F);
  const int64_t whole = channels / kLanes * kLanes;
  for (int64_t c = 0; c < whole; c += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += (x[c + l] - mean) * (x[c + l] - mean);
  }
  for (int64_t c = whole; c < channels; ++c) lanes[c - whole] += (x[c] - mean) * (x[c] - mean);
}

DENOISE_VECTORIZED
void ScaleLoop(const float* x, int64_t channels, float mean, float scale, const float* weight,
               const float* bias, float* __restrict y) {
  for (int64_t c = 0; c < channels; ++c) y[c] = (x[c] - mean) * scale * weight[c] + bias[c];
}

// The probability that a normal number is below x, as 1 - erfc(x / sqrt(2)) / 2, with erfc by
// Abramowitz & Stegun 1964, 7.1.26.
inline float NormalCdf(float x) {
  constexpr float kSqrtHalf = 0.707106781F;
  const float z = std::abs(x) * kSqrtHalf;
  const float t = 1.0F / (1.0F + 0.3275911F * z);
  float p = 1.061405429F;
  p = p * t - 1.453152027F;
  p = p * t + 1.421413741F;
  p = p * t - 0.284496736F;
  p = p * t + 0.254829592F;
  const float tail = 0.5F * p * t * Exp(-z * z);
  return x < 0 ? tail : 1.0F - tail;
}

DENOISE_VECTORIZED
void GatedGeluLoop(const float* x, const float* gate, int64_t count, float* __restrict y) {
  for (int64_t i = 0; i < count; ++i) y[i] = x[i] * (gate[i] * NormalCdf(gate[i]));
}

// Tokens per task, so that a task has kTaskElements or one token.
int64_t Grain(int64_t channels) { return std::max<int64_t>(1, kTaskElements / channels); }

}  // namespace

at::Tensor LayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     double eps) {
  const at::Tensor in = x.contiguous();
  at::Tensor out = at::empty(in.sizes(), in.options());
  const int64_t channels = in.size(-1), tokens = in.numel() / channels;
  const float* source = in.data_ptr<float>();
  const float *w = weight.data_ptr<float>(), *b = bias.data_ptr<float>();
  float* target = out.data_ptr<float>();
  ParallelFor(tokens, Grain(channels), [&](int64_t begin, int64_t end) {
    float lanes[kLanes];
    const double count = static_cast<double>(channels);
    for (int64_t token = begin; token < end; ++token) {
      const float* row = source + token * channels;
      SumLoop(row, channels, lanes);
      const float mean = static_cast<float>(Total(lanes) / count);
      SquaresLoop(row, channels, mean, lanes);
      const float scale = static_cast<float>(1 / std::sqrt(Total(lanes) / count + eps));
      ScaleLoop(row, channels, mean, scale, w, b, target + token * channels);
    }
  });
  return out;
}

at::Tensor GatedGelu(const at::Tensor& x) {
  const at::Tensor in = x.contiguous();
  const int64_t channels = in.size(-1) / 2, tokens = in.numel() / (2 * channels);
  std::vector<int64_t> sizes = in.sizes().vec();
  sizes.back() = channels;
  at::Tensor out = at::empty(sizes, in.options());
  const float* source = in.data_ptr<float>();
  float* target = out.data_ptr<float>();
  ParallelFor(tokens, Grain(channels), [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; ++token) {
      const float* row = source + 2 * token * channels;
      GatedGeluLoop(row, row + channels, channels, target + token * channels);
    }
  });
  return out;
}

}  // namespace denoise::nn::cpu
