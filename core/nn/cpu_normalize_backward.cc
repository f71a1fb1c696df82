#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "core/base/check.h"
#include "core/nn/cpu_floats.h"
#include "core/nn/cpu_loops.h"
#include "core/nn/cpu_normalize.h"

namespace denoise::nn::cpu {
namespace {

// For one row, with u = x + shift_before:
//
//     n = (u - mean) / deviation            of the channel's group
//     z = n * factor + offset               factor = weight (1 + scale), offset likewise
//     y = z or SiLU(z)
//
// and so, with the sums over the group's N elements (Wu & He 2018, differentiated),
//
//     dz = dy or dy SiLU'(z)
//     dx = (factor dz - (sum(factor dz) + n sum(factor dz n)) / N) / deviation
//
// Here are the coefficients per channel of that row.
struct Coefficients {
  explicit Coefficients(int64_t channels)
      : center(channels), inverse_deviation(channels), factor(channels), offset(channels) {}

  std::vector<float> center;  // mean - shift_before
  std::vector<float> inverse_deviation;
  std::vector<float> factor;
  std::vector<float> offset;
};

// Sums over a piece's pixels, per channel.
struct Sums {
  explicit Sums(int64_t channels) : n(channels), dz(channels), dz_n(channels) {}

  std::vector<float> n;
  std::vector<float> dz;
  std::vector<float> dz_n;
};

inline float SiluSlope(float z) {
  const float sigmoid = 1.0F / (1.0F + Exp(-z));
  return sigmoid * (1.0F + z * (1.0F - sigmoid));
}

// Computes dz and the sums.
DENOISE_VECTORIZED
void OutputGradientLoop(const float* __restrict x, const float* __restrict dy,
                        const float* __restrict center, const float* __restrict inverse_deviation,
                        const float* __restrict factor, const float* __restrict offset, bool silu,
                        int64_t pixels, int64_t channels, float* __restrict dz,
                        float* __restrict sum_n, float* __restrict sum_dz,
                        float* __restrict sum_dz_n) {
  for (int64_t p = 0; p < pixels; ++p, x += channels, dy += channels, dz += channels) {
    if (silu) {
      for (int64_t c = 0; c < channels; ++c) {
        const float n = (x[c] - center[c]) * inverse_deviation[c];
        dz[c] = dy[c] * SiluSlope(n * factor[c] + offset[c]);
      }
    } else {
      std::copy_n(dy, channels, dz);
    }
    for (int64_t c = 0; c < channels; ++c) {
      const float n = (x[c] - center[c]) * inverse_deviation[c];
      sum_n[c] += n;
      sum_dz[c] += dz[c];
      sum_dz_n[c] += dz[c] * n;
    }
  }
}

// dx = dz * slope - (mean_gradient + n * mean_gradient_n).
DENOISE_VECTORIZED
void InputGradientLoop(const float* __restrict x, const float* __restrict dz,
                       const float* __restrict center, const float* __restrict inverse_deviation,
                       const float* __restrict slope, const float* __restrict mean_gradient,
                       const float* __restrict mean_gradient_n, int64_t pixels, int64_t channels,
                       float* __restrict dx) {
  for (int64_t p = 0; p < pixels; ++p, x += channels, dz += channels, dx += channels) {
    for (int64_t c = 0; c < channels; ++c) {
      const float n = (x[c] - center[c]) * inverse_deviation[c];
      dx[c] = dz[c] * slope[c] - (mean_gradient[c] + n * mean_gradient_n[c]);
    }
  }
}

// The gradient with respect to x, and the sums that the other gradients are made of, each [B, C]
// float32.
struct RowGradients {
  at::Tensor x;
  at::Tensor sum_dz;
  at::Tensor sum_dz_n;
  at::Tensor sum_dx;
};

class Differentiator {
 public:
  Differentiator(const NormalizeArgs& args, const at::Tensor& moments, const at::Tensor& grad_y)
      : args_(args),
        moments_(moments),
        x_(args.x.contiguous(at::MemoryFormat::ChannelsLast)),
        grad_y_(grad_y.contiguous(at::MemoryFormat::ChannelsLast)),
        channels_(x_.size(1)),
        pieces_(x_.size(2) * x_.size(3), channels_) {}

  RowGradients Run() const {
    const int64_t rows = x_.size(0);
    const auto per_channel = [&] { return at::empty({rows, channels_}, at::kFloat); };
    RowGradients gradients = {
        .x = at::empty(x_.sizes(), x_.options().memory_format(at::MemoryFormat::ChannelsLast)),
        .sum_dz = per_channel(),
        .sum_dz_n = per_channel(),
        .sum_dx = per_channel()};
    ParallelFor(rows, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> dz(pieces_.pixels * channels_);
      for (int64_t row = begin; row < end; ++row) RunRow(row, dz, gradients);
    });
    return gradients;
  }

 private:
  Coefficients CoefficientsOf(int64_t row) const {
    const float* before = RowOf(args_.shift_before, row, channels_);
    const float* scale = RowOf(args_.scale, row, channels_);
    const float* shift = RowOf(args_.shift, row, channels_);
    const float* moments = moments_.data_ptr<float>() + 2 * row * args_.groups;
    Coefficients result(channels_);
    for (int64_t c = 0; c < channels_; ++c) {
      const float* group = moments + 2 * (c / (channels_ / args_.groups));
      const float times = scale ? 1 + scale[c] : 1;
      result.center[c] = group[0] - (before ? before[c] : 0);
      result.inverse_deviation[c] = group[1];
      result.factor[c] = args_.weight.data_ptr<float>()[c] * times;
      result.offset[c] = args_.bias.data_ptr<float>()[c] * times + (shift ? shift[c] : 0);
    }
    return result;
  }

  void RunRow(int64_t row, std::vector<float>& dz, RowGradients& gradients) const {
    const Coefficients k = CoefficientsOf(row);
    float* const sum_dz = gradients.sum_dz.data_ptr<float>() + row * channels_;
    float* const sum_dz_n = gradients.sum_dz_n.data_ptr<float>() + row * channels_;
    const std::vector<double> sum_n = FindOutputGradient(row, k, dz, sum_dz, sum_dz_n);
    // Means over the group's elements, times 1 / deviation.
    std::vector<float> slope(channels_), mean_gradient(channels_), mean_gradient_n(channels_);
    const int64_t group_channels = channels_ / args_.groups;
    for (int64_t first = 0; first < channels_; first += group_channels) {
      double gradient = 0, gradient_n = 0;
      for (int64_t c = first; c < first + group_channels; ++c) {
        gradient += double{k.factor[c]} * sum_dz[c];
        gradient_n += double{k.factor[c]} * sum_dz_n[c];
      }
      const double weight =
          k.inverse_deviation[first] / static_cast<double>(group_channels * pieces_.pixels);
      for (int64_t c = first; c < first + group_channels; ++c) {
        slope[c] = k.factor[c] * k.inverse_deviation[c];
        mean_gradient[c] = static_cast<float>(gradient * weight);
        mean_gradient_n[c] = static_cast<float>(gradient_n * weight);
      }
    }
    float* const sum_dx = gradients.sum_dx.data_ptr<float>() + row * channels_;
    for (int64_t c = 0; c < channels_; ++c) {
      sum_dx[c] =
          static_cast<float>(double{slope[c]} * sum_dz[c] -
                             (double{mean_gradient[c]} * static_cast<double>(pieces_.pixels) +
                              mean_gradient_n[c] * sum_n[c]));
    }
    FindInputGradient(row, k, dz, {slope, mean_gradient, mean_gradient_n}, gradients.x);
  }

  // Fills dz and the row's sums. Returns the sums of n.
  std::vector<double> FindOutputGradient(int64_t row, const Coefficients& k, std::vector<float>& dz,
                                         float* row_dz, float* row_dz_n) const {
    const FloatReader x(x_), grad_y(grad_y_);
    std::vector<float> x_buffer, grad_buffer;
    std::vector<double> n(channels_), all_dz(channels_), all_dz_n(channels_);
    for (int64_t i = 0; i < pieces_.count; ++i) {
      const int64_t first = pieces_.First(i) * channels_, count = pieces_.Size(i) * channels_;
      const int64_t offset = row * pieces_.pixels * channels_ + first;
      Sums sums(channels_);
      OutputGradientLoop(x.Read(offset, count, x_buffer), grad_y.Read(offset, count, grad_buffer),
                         k.center.data(), k.inverse_deviation.data(), k.factor.data(),
                         k.offset.data(), args_.silu, pieces_.Size(i), channels_, dz.data() + first,
                         sums.n.data(), sums.dz.data(), sums.dz_n.data());
      for (int64_t c = 0; c < channels_; ++c) {
        n[c] += sums.n[c];
        all_dz[c] += sums.dz[c];
        all_dz_n[c] += sums.dz_n[c];
      }
    }
    std::copy(all_dz.begin(), all_dz.end(), row_dz);
    std::copy(all_dz_n.begin(), all_dz_n.end(), row_dz_n);
    return n;
  }

  struct InputCoefficients {
    const std::vector<float>& slope;
    const std::vector<float>& mean_gradient;
    const std::vector<float>& mean_gradient_n;
  };

  void FindInputGradient(int64_t row, const Coefficients& k, const std::vector<float>& dz,
                         const InputCoefficients& in, at::Tensor& grad_x) const {
    const FloatReader x(x_);
    const FloatWriter dx(grad_x);
    std::vector<float> x_buffer, dx_buffer;
    for (int64_t i = 0; i < pieces_.count; ++i) {
      const int64_t first = pieces_.First(i) * channels_, count = pieces_.Size(i) * channels_;
      const int64_t offset = row * pieces_.pixels * channels_ + first;
      float* place = dx.Place(offset, count, dx_buffer);
      InputGradientLoop(x.Read(offset, count, x_buffer), dz.data() + first, k.center.data(),
                        k.inverse_deviation.data(), in.slope.data(), in.mean_gradient.data(),
                        in.mean_gradient_n.data(), pieces_.Size(i), channels_, place);
      dx.Write(offset, count, place);
    }
  }

  const NormalizeArgs& args_;
  const at::Tensor& moments_;
  const at::Tensor x_;
  const at::Tensor grad_y_;
  const int64_t channels_;
  const Pieces pieces_;
};

// Adds rows in order. (The order of at::sum depends on the number of threads.)
at::Tensor SumOfRows(const at::Tensor& rows) {
  at::Tensor sum = at::zeros({rows.size(1)}, rows.options());
  for (int64_t row = 0; row < rows.size(0); ++row) sum += rows[row];
  return sum;
}

}  // namespace

NormalizeGradients NormalizeBackward(const NormalizeArgs& args, const at::Tensor& moments,
                                     const at::Tensor& grad_y) {
  for (const at::Tensor* tensor : {&args.shift_before, &args.scale, &args.shift}) {
    DENOISE_DCHECK(!tensor->defined() || tensor->is_contiguous());
  }
  RowGradients rows = Differentiator(args, moments, grad_y).Run();
  const auto over_rows = [&](const at::Tensor& sums) {
    return SumOfRows(args.scale.defined() ? sums * (args.scale + 1) : sums);
  };
  NormalizeGradients gradients = {
      .x = rows.x, .weight = over_rows(rows.sum_dz_n), .bias = over_rows(rows.sum_dz)};
  if (args.shift_before.defined()) gradients.shift_before = rows.sum_dx;
  if (args.scale.defined()) gradients.scale = rows.sum_dz_n * args.weight + rows.sum_dz * args.bias;
  if (args.shift.defined()) gradients.shift = rows.sum_dz;
  return gradients;
}

}  // namespace denoise::nn::cpu
