#include "core/nn/unet_blocks.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/upsample_nearest2d.h>

#include <utility>

namespace denoise::nn {
namespace {

// A strided 3x3 convolution. Padding 0 means to pad the right and the bottom by one, like
// TensorFlow did for the first checkpoints.
at::Tensor Downsampled(const Conv2d& conv, const at::Tensor& x, const RowAdapters& adapters) {
  return conv(conv.padding == 0 ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x, adapters);
}

// To the height and width of `like`, which is twice as large, or one less where it was odd before
// it was halved.
at::Tensor Upsampled(const Conv2d& conv, const at::Tensor& x, const at::Tensor& like,
                     const RowAdapters& adapters) {
  return conv(at::upsample_nearest2d(x, {like.size(2), like.size(3)}), adapters);
}

std::vector<BlockAttention> LoadAttentions(const WeightScope& scope,
                                           const std::vector<BlockAttention::Shape>& shapes,
                                           KernelOptions options) {
  std::vector<BlockAttention> attentions;
  for (size_t i = 0; i < shapes.size(); ++i) {
    attentions.push_back(BlockAttention::Load(scope / "attentions" / i, shapes[i], options));
  }
  return attentions;
}

}  // namespace

BlockAttention BlockAttention::Load(const WeightScope& scope, const Shape& shape,
                                    KernelOptions options) {
  BlockAttention attention;
  if (const auto* pixels = std::get_if<Attention::Shape>(&shape)) {
    attention.layer_ = Attention::Load(scope, *pixels, options);
  } else if (const auto* transformer = std::get_if<Transformer2D::Shape>(&shape)) {
    attention.layer_ = Transformer2D::Load(scope, *transformer, options);
  }
  return attention;
}

at::Tensor BlockAttention::operator()(const at::Tensor& x, const BlockContext& context) const {
  if (const auto* pixels = std::get_if<Attention>(&layer_)) return (*pixels)(x);
  if (const auto* transformer = std::get_if<Transformer2D>(&layer_)) {
    return (*transformer)(x, context.text, context.adapters);
  }
  return x;
}

DownBlock DownBlock::Load(const WeightScope& scope, const ResnetStyle& style, const Shape& shape,
                          KernelOptions options) {
  DownBlock block;
  for (size_t i = 0; i < shape.attentions.size(); ++i) {
    block.resnets.push_back(
        ResnetBlock::Load(scope / "resnets" / i, style,
                          {.in = i == 0 ? shape.in : shape.out, .out = shape.out}, options));
  }
  block.attentions = LoadAttentions(scope, shape.attentions, options);
  const WeightScope sampler = scope / "downsamplers" / 0;
  if (shape.downsample == Resampling::kConv) {
    block.conv_downsample = Conv2d::Load(sampler / "conv",
                                         {.in = shape.out,
                                          .out = shape.out,
                                          .kernel = 3,
                                          .stride = 2,
                                          .padding = shape.downsample_padding},
                                         options);
  } else if (shape.downsample == Resampling::kResnet) {
    block.resnet_downsample = ResnetBlock::Load(
        sampler, style, {.in = shape.out, .out = shape.out, .resample = Resample::kDown}, options);
  }
  return block;
}

at::Tensor DownBlock::operator()(at::Tensor x, const BlockContext& context, Skips& skips) const {
  for (size_t i = 0; i < resnets.size(); ++i) {
    x = attentions[i](resnets[i](x, context.activated_embedding, context.adapters), context);
    skips.push_back(x);
  }
  if (conv_downsample) skips.push_back(x = Downsampled(*conv_downsample, x, context.adapters));
  if (resnet_downsample) {
    skips.push_back(x = (*resnet_downsample)(x, context.activated_embedding, context.adapters));
  }
  return x;
}

MidBlock MidBlock::Load(const WeightScope& scope, const ResnetStyle& style, const Shape& shape,
                        KernelOptions options) {
  const ResnetBlock::Shape resnet{.in = shape.channels,
                                  .out = shape.channels,
                                  .resample = Resample::kNone,
                                  .output_scale_factor = shape.output_scale_factor};
  MidBlock block;
  block.resnet_in = ResnetBlock::Load(scope / "resnets" / 0, style, resnet, options);
  if (shape.resnet_out) {
    block.resnet_out = ResnetBlock::Load(scope / "resnets" / 1, style, resnet, options);
  }
  block.attention = BlockAttention::Load(scope / "attentions" / 0, shape.attention, options);
  return block;
}

at::Tensor MidBlock::operator()(const at::Tensor& x, const BlockContext& context) const {
  const at::Tensor& embedding = context.activated_embedding;
  const at::Tensor hidden = attention(resnet_in(x, embedding, context.adapters), context);
  return resnet_out ? (*resnet_out)(hidden, embedding, context.adapters) : hidden;
}

UpBlock UpBlock::Load(const WeightScope& scope, const ResnetStyle& style, const Shape& shape,
                      KernelOptions options) {
  UpBlock block;
  const size_t layers = shape.attentions.size();
  for (size_t i = 0; i < layers; ++i) {
    const int64_t below = i == 0 ? shape.in : shape.out;
    const int64_t skip = i + 1 == layers ? shape.last_skip : shape.out;
    block.resnets.push_back(ResnetBlock::Load(scope / "resnets" / i, style,
                                              {.in = below + skip, .out = shape.out}, options));
  }
  block.attentions = LoadAttentions(scope, shape.attentions, options);
  const WeightScope sampler = scope / "upsamplers" / 0;
  if (shape.upsample == Resampling::kConv) {
    block.conv_upsample =
        Conv2d::Load(sampler / "conv", {.in = shape.out, .out = shape.out}, options);
  } else if (shape.upsample == Resampling::kResnet) {
    block.resnet_upsample = ResnetBlock::Load(
        sampler, style, {.in = shape.out, .out = shape.out, .resample = Resample::kUp}, options);
  }
  return block;
}

at::Tensor UpBlock::operator()(at::Tensor x, const BlockContext& context, Skips& skips) const {
  for (size_t i = 0; i < resnets.size(); ++i) {
    x = resnets[i](at::cat({x, skips.back()}, 1), context.activated_embedding, context.adapters);
    skips.pop_back();
    x = attentions[i](x, context);
  }
  if (conv_upsample) x = Upsampled(*conv_upsample, x, skips.back(), context.adapters);
  if (resnet_upsample) x = (*resnet_upsample)(x, context.activated_embedding, context.adapters);
  return x;
}

}  // namespace denoise::nn
