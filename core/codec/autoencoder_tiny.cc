#include <ATen/TensorOperators.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/upsample_nearest2d.h>

#include <utility>

#include "core/codec/models.h"

namespace denoise::codec {
namespace {

using nn::Conv2d;
using nn::KernelOptions;
using nn::WeightScope;

Conv2d LoadWithoutBias(const WeightScope& scope, const Conv2d::Shape& shape,
                       KernelOptions options) {
  const auto initial = nn::Initial::ForFanIn(shape.in * shape.kernel * shape.kernel);
  return Conv2d::Make(
      scope.Take("weight", {shape.out, shape.in, shape.kernel, shape.kernel}, initial),
      /*bias=*/{}, shape, options);
}

at::Tensor Run(const TinyLevel& level, at::Tensor x) {
  for (const TinyBlock& block : level.blocks) x = block(x);
  return x;
}

}  // namespace

TinyBlock TinyBlock::Load(const WeightScope& scope, int64_t channels, Activation activation,
                          KernelOptions options) {
  TinyBlock block{.convs = {}, .activation = activation, .options = options};
  for (const size_t i : {0, 2, 4}) {  // between them are the activations
    block.convs.push_back(
        Conv2d::Load(scope / "conv" / i, {.in = channels, .out = channels}, options));
  }
  return block;
}

at::Tensor TinyBlock::operator()(const at::Tensor& x) const {
  at::Tensor change = nn::Activate(activation, convs[0](x), options);
  change = nn::Activate(activation, convs[1](change), options);
  change = convs[2](change);
  return change.add_(x).relu_();
}

AutoencoderTiny AutoencoderTiny::Load(const WeightScope& root, const AutoencoderTinyConfig& config,
                                      KernelOptions options) {
  AutoencoderTiny model;
  model.activation = config.act_fn;
  model.options = options;
  // Layers are numbered in the order they run, with those that have no weights.
  size_t index = 0;
  const auto blocks = [&](const WeightScope& layers, int64_t count, int64_t channels) {
    std::vector<TinyBlock> result;
    for (int64_t i = 0; i < count; ++i) {
      result.push_back(TinyBlock::Load(layers / index++, channels, config.act_fn, options));
    }
    return result;
  };

  const WeightScope encoder = root / "encoder" / "layers";
  const int64_t width = config.encoder_channels;
  for (size_t i = 0; i < config.num_encoder_blocks.size(); ++i) {
    TinyLevel level;
    level.conv =
        i == 0 ? Conv2d::Load(encoder / index++, {.in = config.picture_channels, .out = width},
                              options)
               : LoadWithoutBias(encoder / index++,
                                 {.in = width, .out = width, .kernel = 3, .stride = 2}, options);
    level.blocks = blocks(encoder, config.num_encoder_blocks[i], width);
    model.encoder.push_back(std::move(level));
  }
  model.encoder_out =
      Conv2d::Load(encoder / index, {.in = width, .out = config.latent_channels}, options);

  const WeightScope decoder = root / "decoder" / "layers";
  const int64_t decoder_width = config.decoder_channels;
  index = 0;
  for (size_t i = 0; i < config.num_decoder_blocks.size(); ++i) {
    TinyLevel level;
    level.conv = i == 0
                     ? Conv2d::Load(decoder / index++,
                                    {.in = config.latent_channels, .out = decoder_width}, options)
                     : LoadWithoutBias(decoder / index++,
                                       {.in = decoder_width, .out = decoder_width}, options);
    if (i == 0) ++index;  // its activation
    level.blocks = blocks(decoder, config.num_decoder_blocks[i], decoder_width);
    if (i + 1 < config.num_decoder_blocks.size()) ++index;  // the upsampling
    model.decoder.push_back(std::move(level));
  }
  model.decoder_out =
      Conv2d::Load(decoder / index, {.in = decoder_width, .out = config.picture_channels}, options);
  return model;
}

Distribution AutoencoderTiny::Encode(const at::Tensor& pictures) const {
  at::Tensor x = (pictures + 1) / 2;
  for (const TinyLevel& level : encoder) x = Run(level, level.conv(x));
  return {.mean = encoder_out(x), .deviation = {}};
}

at::Tensor AutoencoderTiny::Decode(const at::Tensor& latents) const {
  at::Tensor x = at::tanh(latents / 3) * 3;
  for (size_t i = 0; i < decoder.size(); ++i) {
    if (i > 0) x = at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
    x = decoder[i].conv(x);
    if (i == 0) x = nn::Activate(activation, x, options);
    x = Run(decoder[i], std::move(x));
  }
  return decoder_out(x) * 2 - 1;
}

}  // namespace denoise::codec
