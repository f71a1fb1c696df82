#include "core/nn/cpu_normalize.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/nn/cpu_floats.h"
#include "core/nn/cpu_loops.h"

namespace denoise::nn::cpu {
namespace {

// A normalisation as y = (x - center) * scale + shift, with one of each per channel. (Plain
// scale * x + shift would lose digits if the mean is much larger than the deviation.)
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

// Each channel's mean and sum of squared deviations from it.
DENOISE_VECTORIZED
void MomentsLoop(const float* x, int64_t pixels, int64_t channels, float* __restrict mean,
                 float* __restrict deviation) {
  std::fill_n(mean, channels, 0.0F);
  std::fill_n(deviation, channels, 0.0F);
  // Four pixels at once, so that additions do not wait for each other.
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

// A row's Affine, computed from the moments of its pieces.
class RowAffine {
 public:
  RowAffine(const NormalizeArgs& args, const Pieces& pieces, int64_t channels)
      : args_(args), pieces_(pieces), channels_(channels), coefficients_(3 * channels) {}

  // `moments` holds, per piece, the channels' means and then their deviations. `group_moments`, if
  // not null, receives the row's part of Normalized::moments.
  void Compute(const float* moments, int64_t row, float* group_moments) {
    const int64_t group_channels = channels_ / args_.groups;
    for (int64_t first = 0; first < channels_; first += group_channels) {
      const Moments group = Combine(moments, row, first, first + group_channels);
      const double inverse_deviation = 1 / std::sqrt(group.variance + args_.eps);
      if (group_moments) {
        *group_moments++ = static_cast<float>(group.mean);
        *group_moments++ = static_cast<float>(inverse_deviation);
      }
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

  // Combines the means and deviations of the parts (Chan, Golub & LeVeque 1983).
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

// Splits one Normalize call into parallel tasks.
class Normalizer {
 public:
  explicit Normalizer(const NormalizeArgs& args)
      : args_(args),
        x_(args.x.contiguous(at::MemoryFormat::ChannelsLast)),
        rows_(x_.size(0)),
        channels_(x_.size(1)),
        pieces_(x_.size(2) * x_.size(3), channels_),
        piece_moments_(at::empty({rows_ * pieces_.count, 2, channels_}, at::kFloat)) {}

  Normalized Run() {
    Normalized result = {
        .y = at::empty(x_.sizes(), x_.options().memory_format(at::MemoryFormat::ChannelsLast)),
        .moments = at::empty({rows_, args_.groups, 2}, at::kFloat)};
    ParallelFor(rows_ * pieces_.count, 2,
                [&](int64_t begin, int64_t end) { FindMoments(begin, end); });
    ParallelFor(rows_ * pieces_.count, 1,
                [&](int64_t begin, int64_t end) { Apply(begin, end, result); });
    return result;
  }

 private:
  int64_t Offset(int64_t task) const {
    const int64_t row = task / pieces_.count, piece = task % pieces_.count;
    return (row * pieces_.pixels + pieces_.First(piece)) * channels_;
  }
  int64_t Pixels(int64_t task) const { return pieces_.Size(task % pieces_.count); }

  void FindMoments(int64_t begin, int64_t end) {
    const FloatReader x(x_);
    std::vector<float> buffer;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t pixels = Pixels(task);
      float* mean = piece_moments_.data_ptr<float>() + 2 * task * channels_;
      MomentsLoop(x.Read(Offset(task), pixels * channels_, buffer), pixels, channels_, mean,
                  mean + channels_);
    }
  }

  void Apply(int64_t begin, int64_t end, Normalized& result) const {
    const FloatReader x(x_);
    const FloatWriter y(result.y);
    std::vector<float> in, out;
    RowAffine row_affine(args_, pieces_, channels_);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t row = task / pieces_.count;
      const bool first = task % pieces_.count == 0;
      if (task == begin || first) {
        row_affine.Compute(
            piece_moments_.data_ptr<float>() + 2 * row * pieces_.count * channels_, row,
            first ? result.moments.data_ptr<float>() + 2 * row * args_.groups : nullptr);
      }
      const int64_t offset = Offset(task), pixels = Pixels(task), count = pixels * channels_;
      float* place = y.Place(offset, count, out);
      (args_.silu ? AffineSiluLoop : AffineLoop)(x.Read(offset, count, in), row_affine.affine(),
                                                 pixels, channels_, place);
      y.Write(offset, count, place);
    }
  }

  const NormalizeArgs& args_;
  const at::Tensor x_;
  const int64_t rows_;
  const int64_t channels_;
  const Pieces pieces_;
  const at::Tensor piece_moments_;
};

}  // namespace

Normalized Normalize(NormalizeArgs args) {
  for (at::Tensor* rows_of_channels : {&args.shift_before, &args.scale, &args.shift}) {
    if (rows_of_channels->defined()) *rows_of_channels = rows_of_channels->contiguous();
  }
  return Normalizer(args).Run();
}

}  // namespace denoise::nn::cpu
