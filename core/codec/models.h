// The autoencoders themselves, as pure functions of pictures and unscaled latents.
//
// Each is a small immutable struct of layers. Inputs have the codec's dtype and device, in
// PreferredMemoryFormat; so have the results, unless it says otherwise.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "core/codec/autoencoder_config.h"
#include "core/codec/blocks.h"
#include "core/nn/layers.h"
#include "core/nn/weight_source.h"

namespace denoise::codec {

// What an encoder says about a picture's latents, [B, latent_channels, h, w]. Without a deviation
// they are the mean.
struct Distribution {
  at::Tensor mean;
  at::Tensor deviation;  // may be undefined
};

// diffusers' AutoencoderKL (Rombach et al. 2022).
struct AutoencoderKL {
  Encoder encoder;
  std::optional<nn::Conv2d> quant_conv;
  std::optional<nn::Conv2d> post_quant_conv;
  Decoder decoder;

  static AutoencoderKL Load(const nn::WeightScope& root, const AutoencoderKLConfig& config,
                            nn::KernelOptions options);
  // In float32.
  Distribution Encode(const at::Tensor& pictures) const;
  at::Tensor Decode(const at::Tensor& latents) const;
};

// diffusers' VQModel (Esser et al. 2021). Encoding does not round to a code; decoding does.
struct VQModel {
  Encoder encoder;
  nn::Conv2d quant_conv;
  at::Tensor codebook;  // [num_codes, code_width]
  nn::Conv2d post_quant_conv;
  Decoder decoder;

  static VQModel Load(const nn::WeightScope& root, const VQModelConfig& config,
                      nn::KernelOptions options);
  Distribution Encode(const at::Tensor& pictures) const;
  at::Tensor Decode(const at::Tensor& latents) const;
};

// The index of the nearest row of `codebook` [N, C] for each pixel of `latents` [B, C, h, w]: int64
// [B, h, w]. Computed in float32, in pieces whose distances take at most 64 MiB. Batch-invariant.
at::Tensor NearestCodes(const at::Tensor& latents, const at::Tensor& codebook);

// relu(x + conv(act(conv(act(conv(x)))))).
struct TinyBlock {
  std::vector<nn::Conv2d> convs;
  Activation activation = Activation::kRelu;
  nn::KernelOptions options;

  static TinyBlock Load(const nn::WeightScope& scope, int64_t channels, Activation activation,
                        nn::KernelOptions options);
  at::Tensor operator()(const at::Tensor& x) const;
};

// A convolution and the blocks that follow it.
struct TinyLevel {
  nn::Conv2d conv;
  std::vector<TinyBlock> blocks;
};

// diffusers' AutoencoderTiny (TAESD).
struct AutoencoderTiny {
  std::vector<TinyLevel> encoder;  // every convolution but the first halves the resolution
  nn::Conv2d encoder_out;
  std::vector<TinyLevel> decoder;  // every convolution but the first follows an upsampling
  nn::Conv2d decoder_out;
  Activation activation = Activation::kRelu;  // after the decoder's first convolution
  nn::KernelOptions options;

  static AutoencoderTiny Load(const nn::WeightScope& root, const AutoencoderTinyConfig& config,
                              nn::KernelOptions options);
  Distribution Encode(const at::Tensor& pictures) const;
  at::Tensor Decode(const at::Tensor& latents) const;
};

}  // namespace denoise::codec
