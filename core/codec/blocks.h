// The blocks of the encoders and decoders of AutoencoderKL and VQModel (Esser et al. 2021; Rombach
// et al. 2022). Their norms have epsilon 1e-6.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "core/codec/autoencoder_config.h"
#include "core/nn/attention.h"
#include "core/nn/layers.h"
#include "core/nn/weight_source.h"

namespace denoise::codec {

// x + conv2(act(norm2(conv1(act(norm1(x)))))), without a time embedding.
struct ResidualBlock {
  nn::GroupNorm norm1;
  nn::Conv2d conv1;
  nn::GroupNorm norm2;
  nn::Conv2d conv2;
  std::optional<nn::Conv2d> shortcut;  // if the number of channels changes
  Activation activation = Activation::kSilu;

  static ResidualBlock Load(const nn::WeightScope& scope, const EncoderDecoderConfig& config,
                            int64_t in, int64_t out, nn::KernelOptions options);
  // x [B, in, H, W] -> [B, out, H, W]
  at::Tensor operator()(const at::Tensor& x) const;
};

// Attention of one head over all pixels of a picture. Pictures have many: queries are processed in
// pieces whose scores take at most 64 MiB (or one query's, if those take more), so that memory
// grows with the number of pixels and not with its square.
struct PixelAttention {
  nn::Attention layers;

  static PixelAttention Load(const nn::WeightScope& scope, const EncoderDecoderConfig& config,
                             int64_t channels, nn::KernelOptions options);
  // x [B, C, H, W] -> the same shape.
  at::Tensor operator()(const at::Tensor& x) const;
};

// Residual blocks, each with an attention or none with one; then a convolution that halves the
// resolution, or doubles it after an upsampling to the nearest pixels.
struct Level {
  std::vector<ResidualBlock> resnets;
  std::vector<PixelAttention> attentions;  // one per residual block, or none
  std::optional<nn::Conv2d> downsample;
  std::optional<nn::Conv2d> upsample;

  struct Shape {
    int64_t in;
    int64_t out;
    int64_t resnets;
    bool attention;
  };
  static Level Load(const nn::WeightScope& scope, const EncoderDecoderConfig& config,
                    const Shape& shape, nn::KernelOptions options);
  at::Tensor operator()(at::Tensor x) const;
};

// Residual block, optional attention, residual block.
struct Middle {
  ResidualBlock first;
  std::optional<PixelAttention> attention;
  ResidualBlock last;

  static Middle Load(const nn::WeightScope& scope, const EncoderDecoderConfig& config,
                     nn::KernelOptions options);
  at::Tensor operator()(at::Tensor x) const;
};

struct Encoder {
  nn::Conv2d conv_in;
  std::vector<Level> levels;
  Middle middle;
  nn::GroupNorm norm_out;
  nn::Conv2d conv_out;

  static Encoder Load(const nn::WeightScope& scope, const EncoderDecoderConfig& config,
                      int64_t out_channels, nn::KernelOptions options);
  // [B, picture_channels, H, W] -> [B, out_channels, H / factor, W / factor]
  at::Tensor operator()(at::Tensor x) const;
};

struct Decoder {
  nn::Conv2d conv_in;
  Middle middle;
  std::vector<Level> levels;  // from the deepest
  nn::GroupNorm norm_out;
  nn::Conv2d conv_out;

  static Decoder Load(const nn::WeightScope& scope, const EncoderDecoderConfig& config,
                      nn::KernelOptions options);
  // [B, latent_channels, h, w] -> [B, picture_channels, h * factor, w * factor]
  at::Tensor operator()(at::Tensor x) const;
};

}  // namespace denoise::codec
