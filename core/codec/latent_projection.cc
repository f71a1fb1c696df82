#include "core/codec/latent_projection.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

#include "core/nn/layers.h"

namespace denoise {
namespace {

// Relative to the mean variance of the channels.
constexpr double kRidge = 1e-6;
// On each side of a random picture's coarsest layer.
constexpr int64_t kCoarsest = 2;
// How much less a layer varies than the next coarser one.
constexpr double kLayerDecay = 0.7;

// [B, C, h, w] -> [B * h * w, C] in float64.
at::Tensor ByPixel(const at::Tensor& x) {
  return x.to(at::kCPU, at::kDouble).permute({0, 2, 3, 1}).reshape({-1, x.size(1)});
}

// Random pictures in (-1, 1), [count, channels, side, side]: sums of layers of noise, each twice as
// fine as the one before it.
at::Tensor RandomPictures(int64_t count, int64_t channels, int64_t side, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  at::Tensor sum = at::zeros({count, channels, side, side}, at::kFloat);
  double scale = 1;
  for (int64_t points = std::min(kCoarsest, side); points <= side; points *= 2) {
    const at::Tensor layer = at::randn({count, channels, points, points}, generator, at::kFloat);
    sum = sum + scale * at::upsample_bilinear2d(layer, {side, side}, /*align_corners=*/true);
    scale *= kLayerDecay;
  }
  return at::tanh(sum);
}

}  // namespace

LatentProjection::LatentProjection(const at::Tensor& weight, const at::Tensor& bias)
    : weight_(weight.to(at::kCPU, at::kFloat).contiguous()),
      bias_(bias.to(at::kCPU, at::kFloat).contiguous()) {
  TORCH_CHECK(weight.dim() == 2 && bias.sizes() == at::IntArrayRef{weight.size(0)},
              "a projection has a weight [C', C] and a bias [C'], not ", weight.sizes(), " and ",
              bias.sizes());
}

at::Tensor LatentProjection::Apply(const at::Tensor& latents) const {
  TORCH_CHECK(latents.dim() == 4 && latents.size(1) == weight_.size(1), "latents have shape ",
              latents.sizes(), ", expected [B, ", weight_.size(1), ", h, w]");
  const at::Tensor weight = weight_.to(latents.device());
  const at::Tensor x = latents.to(at::kFloat);
  // Elementwise sums of products in a fixed order give the same bits in any batch.
  at::Tensor result = bias_.to(latents.device()).view({1, -1, 1, 1});
  for (int64_t c = 0; c < weight.size(1); ++c) {
    result = result + x.narrow(1, c, 1) * weight.select(1, c).view({1, -1, 1, 1});
  }
  return result;
}

LatentProjection FitLatentProjection(const at::Tensor& latents, const at::Tensor& pictures) {
  TORCH_CHECK(latents.dim() == 4 && latents.numel() > 0 && pictures.dim() == 4 &&
                  pictures.size(0) == latents.size(0),
              "needs as many pictures [B, C', H, W] as latents [B, C, h, w]");
  const int64_t k = pictures.size(2) / latents.size(2);
  TORCH_CHECK(
      k > 0 && pictures.size(2) == k * latents.size(2) && pictures.size(3) == k * latents.size(3),
      "the pictures' sides must be a multiple of the latents'");
  const at::Tensor small = at::avg_pool2d(pictures.to(at::kCPU, at::kDouble), {k, k}, {k, k});
  const at::Tensor x = ByPixel(latents), y = ByPixel(small);
  const at::Tensor x_mean = x.mean(0), y_mean = y.mean(0);
  const at::Tensor x_centered = x - x_mean;
  const double pixels = static_cast<double>(x.size(0));
  const at::Tensor covariance = at::mm(x_centered.t(), x_centered) / pixels;
  // Latents that do not vary at all leave the ridge alone, and a projection to the mean picture.
  const double ridge = std::max(covariance.diag().mean().item<double>() * kRidge, 1e-30);
  const at::Tensor weight =
      at::linalg_solve(covariance + ridge * at::eye(x.size(1), at::kDouble),
                       at::mm(x_centered.t(), y - y_mean) / pixels);  // [C, C']
  const at::Tensor bias = y_mean - at::mm(x_mean.unsqueeze(0), weight).squeeze(0);
  return LatentProjection(weight.t(), bias);
}

LatentProjection FitLatentProjection(const Codec& codec, const ProbeOptions& options) {
  TORCH_CHECK(options.count >= 1 && options.side >= 2, "needs a picture of two latents a side");
  const CodecSpec& spec = codec.spec();
  const at::Tensor pictures = RandomPictures(options.count, spec.picture_channels,
                                             options.side * spec.factor, options.seed);
  const at::Tensor latents = codec.Encode(pictures.to(codec.device()), /*noise=*/{});
  // Colours are clamped for display.
  return FitLatentProjection(latents, codec.Decode(latents).clamp(-1, 1));
}

at::Tensor Upscale(const at::Tensor& pictures, int64_t factor, Upscaling upscaling) {
  const std::vector<int64_t> size = {pictures.size(2) * factor, pictures.size(3) * factor};
  return nn::RowWise(pictures, [&](const at::Tensor& row) {
    return upscaling == Upscaling::kNearest
               ? at::upsample_nearest2d(row, size)
               : at::upsample_bilinear2d(row, size, /*align_corners=*/false);
  });
}

}  // namespace denoise
