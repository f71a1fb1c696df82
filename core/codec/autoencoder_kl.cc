#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>

#include "core/codec/models.h"

namespace denoise::codec {

AutoencoderKL AutoencoderKL::Load(const nn::WeightScope& root, const AutoencoderKLConfig& config,
                                  nn::KernelOptions options) {
  const int64_t channels = config.blocks.latent_channels;
  const auto pointwise = [&](const char* name, int64_t width) {
    return nn::Conv2d::Load(
        root / name, {.in = width, .out = width, .kernel = 1, .stride = 1, .padding = 0}, options);
  };
  AutoencoderKL model;
  model.encoder = Encoder::Load(root / "encoder", config.blocks, 2 * channels, options);
  if (config.quant_conv) model.quant_conv = pointwise("quant_conv", 2 * channels);
  if (config.post_quant_conv) model.post_quant_conv = pointwise("post_quant_conv", channels);
  model.decoder = Decoder::Load(root / "decoder", config.blocks, options);
  return model;
}

Distribution AutoencoderKL::Encode(const at::Tensor& pictures) const {
  at::Tensor moments = encoder(pictures);
  if (quant_conv) moments = (*quant_conv)(moments);
  moments = moments.to(at::kFloat).contiguous();
  const std::vector<at::Tensor> halves = moments.chunk(2, 1);
  // The second half is the logarithm of the variance, within the bounds that the library gives it.
  return {.mean = halves[0], .deviation = at::exp(at::clamp(halves[1], -30, 20) * 0.5)};
}

at::Tensor AutoencoderKL::Decode(const at::Tensor& latents) const {
  return decoder(post_quant_conv ? (*post_quant_conv)(latents) : latents);
}

}  // namespace denoise::codec
