#include "core/nn/cpu_kernels.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

// The loops below are compiled once per instruction set and chosen when the program starts.
// Sanitizers start too late for that choice.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define DENOISE_VECTORIZED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DENOISE_VECTORIZED
#endif

namespace denoise::nn::cpu {
namespace {

// Elements per task: small enough for a first-level cache, large enough to be worth a thread's
// while.
constexpr int64_t kTaskElements = 8192;

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

DENOISE_VECTORIZED
void SiluLoop(const float* x, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = SiluOf(x[i]);
}

// What a normalisation comes down to: y = (x - center) * scale + shift, with one of each per
// channel. (scale * x + shift would do, but loses digits where the mean is much larger than the
// deviation.)
struct Affine {
  const float* center;
  const float* scale;
  const float* shift;

  float operator()(float x, int64_t c) const { return (x - center[c]) * scale[c] + shift[c]; }
};

DENOISE_VECTORIZED
void AffineLoop(const float* x, Affine affine, int64_t pixels, int64_t channels,
                float* __restrict y) {
  for (int64_t p = 0; p < pixels; ++p, x += channels, y += channels) {
    for (int64_t c = 0; c < channels; ++c) y[c] = affine(x[c], c);
  }
}

DENOISE_VECTORIZED
void AffineSiluLoop(const float* x, Affine affine, int64_t pixels, int64_t channels,
                    float* __restrict y) {
  for (int64_t p = 0; p < pixels; ++p, x += channels, y += channels) {
    for (int64_t c = 0; c < channels; ++c) y[c] = SiluOf(affine(x[c], c));
  }
}

// Each channel's mean, and its sum of squared deviations from that.
DENOISE_VECTORIZED
void MomentsLoop(const float* x, int64_t pixels, int64_t channels, float* __restrict mean,
                 float* __restrict deviation) {
  std::fill_n(mean, channels, 0.0F);
  std::fill_n(deviation, channels, 0.0F);
  // Four pixels at once, so that an addition need not wait for the one before.
  const int64_t quads = pixels / 4 * 4;
  for (int64_t p = 0; p < quads; p += 4) {
    const float *x0 = x + p * channels, *x1 = x0 + channels, *x2 = x1 + channels,
                *x3 = x2 + channels;
    for (int64_t c = 0; c < channels; ++c) mean[c] += (x0[c] + x1[c]) + (x2[c] + x3[c]);
  }
  for (int64_t p = quads; p < pixels; ++p) {
    for (int64_t c = 0; c < channels; ++c) mean[c] += x[p * channels + c];
  }
  const float count = static_cast<float>(pixels);
  for (int64_t c = 0; c < channels; ++c) mean[c] /= count;
  for (int64_t p = 0; p < quads; p += 4) {
    const float *x0 = x + p * channels, *x1 = x0 + channels, *x2 = x1 + channels,
                *x3 = x2 + channels;
    for (int64_t c = 0; c < channels; ++c) {
      const float d0 = x0[c] - mean[c], d1 = x1[c] - mean[c];
      const float d2 = x2[c] - mean[c], d3 = x3[c] - mean[c];
      deviation[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
    }
  }
  for (int64_t p = quads; p < pixels; ++p) {
    for (int64_t c = 0; c < channels; ++c) {
      const float d = x[p * channels + c] - mean[c];
      deviation[c] += d * d;
    }
  }
}

// y += x W for one row x and a slice of W's columns, four rows of W at once.
DENOISE_VECTORIZED
void LinearLoop(const float* x, const float* weight, int64_t in, int64_t stride, int64_t columns,
                float* __restrict y) {
  const int64_t quads = in / 4 * 4;
  for (int64_t k = 0; k < quads; k += 4) {
    const float *w0 = weight + k * stride, *w1 = w0 + stride, *w2 = w1 + stride, *w3 = w2 + stride;
    const float x0 = x[k], x1 = x[k + 1], x2 = x[k + 2], x3 = x[k + 3];
    for (int64_t j = 0; j < columns; ++j) {
      y[j] += (x0 * w0[j] + x1 * w1[j]) + (x2 * w2[j] + x3 * w3[j]);
    }
  }
  for (int64_t k = quads; k < in; ++k) {
    for (int64_t j = 0; j < columns; ++j) y[j] += x[k] * weight[k * stride + j];
  }
}

// A row's pixels, cut into pieces of equal size but for the last.
struct Pieces {
  int64_t pixels;  // of a row
  int64_t piece;   // pixels of a piece
  int64_t count;

  Pieces(int64_t pixels_of_row, int64_t channels)
      : pixels(pixels_of_row),
        piece(std::max<int64_t>(1, kTaskElements / channels)),
        count((pixels + piece - 1) / piece) {}

  int64_t Size(int64_t index) const { return std::min(piece, pixels - index * piece); }
};

const float* RowOf(const at::Tensor& tensor, int64_t row, int64_t channels) {
  return tensor.defined() ? tensor.data_ptr<float>() + row * channels : nullptr;
}

// A row's Affine, computed from the moments of its pieces.
class RowAffine {
 public:
  RowAffine(const NormalizeArgs& args, const Pieces& pieces, int64_t channels)
      : args_(args), pieces_(pieces), channels_(channels), coefficients_(3 * channels) {}

  // `moments`: per piece, the channels' means and then their deviations.
  void Compute(const float* moments, int64_t row) {
    const int64_t group_channels = channels_ / args_.groups;
    for (int64_t first = 0; first < channels_; first += group_channels) {
      const Moments group = Combine(moments, row, first, first + group_channels);
      const double inverse_deviation = 1 / std::sqrt(group.variance + args_.eps);
      for (int64_t c = first; c < first + group_channels; ++c)
        Set(row, c, group.mean, inverse_deviation);
    }
  }

  Affine affine() const {
    const float* center = coefficients_.data();
    return {center, center + channels_, center + 2 * channels_};
  }

 private:
  struct Moments {
    double mean;
    double variance;
  };

  // Chan, Golub & LeVeque 1983: means and deviations of the parts give those of the whole.
  Moments Combine(const float* moments, int64_t row, int64_t first, int64_t last) const {
    const float* before = RowOf(args_.shift_before, row, channels_);
    double sum = 0;
    for (int64_t i = 0; i < pieces_.count; ++i) {
      const float* mean = moments + 2 * i * channels_;
      double piece_sum = 0;
      for (int64_t c = first; c < last; ++c)
        piece_sum += mean[c] + (before ? double{before[c]} : 0.0);
      sum += piece_sum * static_cast<double>(pieces_.Size(i));
    }
    const double count = static_cast<double>((last - first) * pieces_.pixels);
    const double whole = sum / count;
    double deviation = 0;
    for (int64_t i = 0; i < pieces_.count; ++i) {
      const float* mean = moments + 2 * i * channels_;
      const float* piece_deviation = mean + channels_;
      for (int64_t c = first; c < last; ++c) {
        const double d = mean[c] + (before ? double{before[c]} : 0.0) - whole;
        deviation += piece_deviation[c] + static_cast<double>(pieces_.Size(i)) * d * d;
      }
    }
    return {whole, deviation / count};
  }

  void Set(int64_t row, int64_t c, double mean, double inverse_deviation) {
    const float* before = RowOf(args_.shift_before, row, channels_);
    const float* after_scale = RowOf(args_.scale, row, channels_);
    const float* after_shift = RowOf(args_.shift, row, channels_);
    const double factor = after_scale ? 1 + double{after_scale[c]} : 1;
    const double center = mean - (before ? before[c] : 0);
    const double scale = inverse_deviation * args_.weight.data_ptr<float>()[c] * factor;
    const double shift =
        args_.bias.data_ptr<float>()[c] * factor + (after_shift ? after_shift[c] : 0);
    const float rounded_center = static_cast<float>(center);
    coefficients_[c] = rounded_center;
    coefficients_[channels_ + c] = static_cast<float>(scale);
    coefficients_[2 * channels_ + c] =
        static_cast<float>(shift + (rounded_center - center) * scale);
  }

  const NormalizeArgs& args_;
  const Pieces& pieces_;
  const int64_t channels_;
  std::vector<float> coefficients_;  // centers, scales, shifts
};

}  // namespace

bool Serves(std::initializer_list<at::Tensor> tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const at::Tensor& tensor) {
    if (!tensor.defined()) return true;
    const bool wants_gradient = at::GradMode::is_enabled() && tensor.requires_grad();
    return tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat && !wants_gradient;
  });
}

at::Tensor Normalize(NormalizeArgs args) {
  for (at::Tensor* rows_of_channels : {&args.shift_before, &args.scale, &args.shift}) {
    if (rows_of_channels->defined()) *rows_of_channels = rows_of_channels->contiguous();
  }
  const at::Tensor x = args.x.contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t rows = x.size(0), channels = x.size(1), pixels = x.size(2) * x.size(3);
  const Pieces pieces(pixels, channels);
  const at::Tensor moments = at::empty({rows * pieces.count, 2, channels}, x.options());
  at::Tensor y = at::empty(x.sizes(), x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const float* in = x.data_ptr<float>();
  float* out = y.data_ptr<float>();
  float* stats = moments.data_ptr<float>();
  const auto offset = [&](int64_t task) {
    return (task / pieces.count * pixels + task % pieces.count * pieces.piece) * channels;
  };
  ParallelFor(rows * pieces.count, 2, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      float* mean = stats + 2 * task * channels;
      MomentsLoop(in + offset(task), pieces.Size(task % pieces.count), channels, mean,
                  mean + channels);
    }
  });
  ParallelFor(rows * pieces.count, 1, [&](int64_t begin, int64_t end) {
    RowAffine row_affine(args, pieces, channels);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t row = task / pieces.count;
      if (task == begin || task % pieces.count == 0) {
        row_affine.Compute(stats + 2 * row * pieces.count * channels, row);
      }
      (args.silu ? AffineSiluLoop : AffineLoop)(in + offset(task), row_affine.affine(),
                                                pieces.Size(task % pieces.count), channels,
                                                out + offset(task));
    }
  });
  return y;
}

at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  constexpr int64_t kColumns =
      128;  // of a task: the slice of W serves every row while it is in cache
  const at::Tensor in = x.contiguous();
  const int64_t rows = x.size(0), size = weight.size(0), columns = weight.size(1);
  at::Tensor y = at::empty({rows, columns}, x.options());
  const float* source = in.data_ptr<float>();
  const float* w = weight.data_ptr<float>();
  const float* b = bias.data_ptr<float>();
  float* target = y.data_ptr<float>();
  ParallelFor((columns + kColumns - 1) / kColumns, 2, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin * kColumns; j < std::min(end * kColumns, columns); j += kColumns) {
      const int64_t width = std::min(kColumns, columns - j);
      for (int64_t row = 0; row < rows; ++row) {
        float* y_row = std::copy_n(b + j, width, target + row * columns + j) - width;
        LinearLoop(source + row * size, w + j, size, columns, width, y_row);
      }
    }
  });
  return y;
}

at::Tensor Silu(const at::Tensor& x) {
  const at::Tensor in = x.contiguous();
  at::Tensor out = at::empty_like(in);
  const float* source = in.data_ptr<float>();
  float* target = out.data_ptr<float>();
  ParallelFor(in.numel(), kTaskElements, [&](int64_t begin, int64_t end) {
    SiluLoop(source + begin, end - begin, target + begin);
  });
  return out;
}

}  // namespace denoise::nn::cpu
