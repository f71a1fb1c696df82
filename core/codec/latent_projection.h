// Cheap previews of latents: a linear map from a latent's channels to a pixel's colour, which shows
// what a picture will be without running its decoder.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/codec/codec.h"

namespace denoise {

// Immutable and thread-safe. Methods throw c10::Error on wrong shapes.
class LatentProjection {
 public:
  // weight [picture_channels, latent_channels] and bias [picture_channels].
  LatentProjection(const at::Tensor& weight, const at::Tensor& bias);

  // Latents [B, latent_channels, h, w] as the network denoises them to a picture of their own size,
  // [B, picture_channels, h, w] float32 on their device, about in [-1, 1] but not clamped. Costs
  // about as much as a convolution of one pixel. On the CPU a row's result is the same bit for bit
  // in any batch.
  at::Tensor Apply(const at::Tensor& latents) const;

  const at::Tensor& weight() const { return weight_; }
  const at::Tensor& bias() const { return bias_; }

 private:
  at::Tensor weight_, bias_;  // float32 on the CPU
};

// The projection with the least squared error over all pixels of latents [B, latent_channels, h, w]
// and their pictures [B, picture_channels, h * k, w * k], which are averaged over k x k pixels. A
// ridge of 1e-6 of the channels' mean variance keeps channels that do not vary out of it.
LatentProjection FitLatentProjection(const at::Tensor& latents, const at::Tensor& pictures);

// What to fit a codec's projection to.
struct ProbeOptions {
  int64_t count = 4;  // random pictures, at least 1
  int64_t side = 8;   // of their latents, at least 2
  uint64_t seed = 0;
};

// Fits a projection to what `codec` decodes, so that any model gets one without a data set. The
// latents are the codec's own encodings of random pictures that, like photographs, hold about as
// much detail at every scale: latents drawn at random would be unlike those that a network makes.
// On one machine, the same codec and options give the same projection on the CPU.
//
// Costs `count` encodings and decodings of side * factor pixels square: with the defaults 1 to 3
// seconds on two CPU cores for the autoencoder of Stable Diffusion.
LatentProjection FitLatentProjection(const Codec& codec, const ProbeOptions& options);

enum class Upscaling { kNearest, kBilinear };

// Enlarges pictures [B, C, h, w] by `factor` on each side, for display.
at::Tensor Upscale(const at::Tensor& pictures, int64_t factor, Upscaling upscaling);

}  // namespace denoise
