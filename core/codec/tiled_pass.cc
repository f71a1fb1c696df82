#include "core/codec/tiled_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

#include "core/codec/codec_checks.h"

namespace denoise {
namespace {

int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A span's part of a tensor's dimension, where a latent has `scale` elements.
at::Tensor Narrow(const at::Tensor& x, int64_t dim, TileSpan span, int64_t scale) {
  return x.narrow(dim, span.start * scale, span.size * scale);
}

// How much each span counts at each of its elements: it rises and falls linearly where it overlaps
// its neighbours. Normalised, since a third span may begin before the first ends.
std::vector<at::Tensor> BlendingWeights(const std::vector<TileSpan>& spans, int64_t scale,
                                        at::Device device) {
  const TileSpan& last = spans.back();
  std::vector<double> total(static_cast<size_t>((last.start + last.size) * scale), 0.0);
  std::vector<std::vector<double>> weights;
  for (size_t i = 0; i < spans.size(); ++i) {
    const int64_t start = spans[i].start * scale, size = spans[i].size * scale;
    const auto overlap = [&](size_t left) {
      return static_cast<double>((spans[left].start + spans[left].size - spans[left + 1].start) *
                                 scale);
    };
    std::vector<double>& weight = weights.emplace_back();
    for (int64_t k = 0; k < size; ++k) {
      double value = 1;
      const double from_start = static_cast<double>(k) + 0.5;
      if (i > 0) value = std::min(value, from_start / std::max(1.0, overlap(i - 1)));
      if (i + 1 < spans.size()) {
        const double to_end = static_cast<double>(size) - from_start;
        value = std::min(value, to_end / std::max(1.0, overlap(i)));
      }
      weight.push_back(value);
      total[static_cast<size_t>(start + k)] += value;
    }
  }
  std::vector<at::Tensor> tensors;
  for (size_t i = 0; i < spans.size(); ++i) {
    const size_t start = static_cast<size_t>(spans[i].start * scale);
    for (size_t k = 0; k < weights[i].size(); ++k) weights[i][k] /= total[start + k];
    tensors.push_back(at::tensor(weights[i], at::kFloat).to(device));
  }
  return tensors;
}

}  // namespace

std::vector<TileSpan> DivideIntoTiles(int64_t size, int64_t side, int64_t overlap) {
  if (size <= side) return {{0, size}};
  const int64_t count = DivideUp(size - overlap, side - overlap);
  const int64_t tile = DivideUp(size + (count - 1) * overlap, count);
  std::vector<TileSpan> spans;
  for (int64_t i = 0; i < count; ++i) {
    spans.push_back({i * (size - tile) / (count - 1), tile});
  }
  return spans;
}

TiledPass::TiledPass(const Geometry& geometry, at::Device device, int64_t factor,
                     const TileOptions& options, RunTile run)
    : run_(std::move(run)), geometry_(geometry) {
  const int64_t side = std::max<int64_t>(1, options.side / factor);
  const int64_t overlap = std::clamp<int64_t>(options.overlap / factor, 0, side / 2);
  spans_y_ = DivideIntoTiles(geometry.latents.height, side, overlap);
  spans_x_ = DivideIntoTiles(geometry.latents.width, side, overlap);
  weights_y_ = BlendingWeights(spans_y_, geometry.scale, device);
  weights_x_ = BlendingWeights(spans_x_, geometry.scale, device);
  result_ =
      at::zeros({geometry.rows, geometry.result_channels, geometry.latents.height * geometry.scale,
                 geometry.latents.width * geometry.scale},
                at::TensorOptions(at::kFloat).device(device));
  steps_ = geometry.rows * static_cast<int64_t>(spans_y_.size() * spans_x_.size());
}

TiledPass TiledPass::Decode(std::shared_ptr<const Codec> codec, const at::Tensor& latents,
                            const TileOptions& options) {
  const CodecSpec& spec = codec->spec();
  CheckLatents(spec, latents);
  const Geometry geometry = {.rows = latents.size(0),
                             .latents = {spec.latent_channels, latents.size(2), latents.size(3)},
                             .result_channels = spec.picture_channels,
                             .scale = spec.factor};
  const at::Device device = codec->device();
  const int64_t factor = spec.factor;
  RunTile run = [codec = std::move(codec), latents](int64_t row, TileSpan y, TileSpan x) {
    return codec->Decode(Narrow(Narrow(latents.narrow(0, row, 1), 2, y, 1), 3, x, 1).contiguous());
  };
  return TiledPass(geometry, device, factor, options, std::move(run));
}

TiledPass TiledPass::Encode(std::shared_ptr<const Codec> codec, const at::Tensor& pictures,
                            const at::Tensor& noise, bool use_statistics,
                            const TileOptions& options) {
  const CodecSpec& spec = codec->spec();
  CheckPictures(spec, pictures, noise);
  const Geometry geometry = {.rows = pictures.size(0),
                             .latents = spec.LatentShape(pictures.size(2), pictures.size(3)),
                             .result_channels = spec.latent_channels,
                             .scale = 1};
  const at::Device device = codec->device();
  const int64_t factor = spec.factor;
  RunTile run = [codec = std::move(codec), pictures, noise, use_statistics, factor](
                    int64_t row, TileSpan y, TileSpan x) {
    const auto part = [&](const at::Tensor& whole, int64_t scale) {
      return Narrow(Narrow(whole.narrow(0, row, 1), 2, y, scale), 3, x, scale).contiguous();
    };
    const at::Tensor tile = part(pictures, factor);
    const at::Tensor tile_noise = noise.defined() ? part(noise, 1) : noise;
    return use_statistics ? codec->Encode(tile, tile_noise)
                          : codec->EncodeWithoutStatistics(tile, tile_noise);
  };
  return TiledPass(geometry, device, factor, options, std::move(run));
}

void TiledPass::Advance() {
  TORCH_CHECK(!done(), "the pass is over");
  const int64_t columns = static_cast<int64_t>(spans_x_.size());
  const int64_t tiles = columns * static_cast<int64_t>(spans_y_.size());
  const int64_t row = steps_done_ / tiles;
  const size_t iy = static_cast<size_t>(steps_done_ % tiles / columns);
  const size_t ix = static_cast<size_t>(steps_done_ % columns);
  const TileSpan y = spans_y_[iy], x = spans_x_[ix];
  at::Tensor tile = run_(row, y, x);
  // Weights are exactly 1 where nothing overlaps. A single tile is copied, since adding it to zero
  // would lose the sign of its zeros.
  at::Tensor target =
      Narrow(Narrow(result_.narrow(0, row, 1), 2, y, geometry_.scale), 3, x, geometry_.scale);
  if (tiles == 1) {
    target.copy_(tile);
  } else {
    target.add_(tile * weights_y_[iy].view({-1, 1}) * weights_x_[ix]);
  }
  ++steps_done_;
}

const at::Tensor& TiledPass::result() const {
  TORCH_CHECK(done(), "the pass is not over");
  return result_;
}

}  // namespace denoise
