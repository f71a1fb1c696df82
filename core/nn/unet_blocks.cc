#include "core/nn/unet_blocks.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/upsample_nearest2d.h>

#include <utility>

namespace denoise::nn {
namespace {

Attention LoadLevelAttention(const WeightScope& scope, const UNet2DConfig& config, int64_t channels,
                             KernelOptions options) {
  return Attention::Load(scope,
                         {.channels = channels,
                          .heads = config.AttentionHeads(channels),
                          .norm_groups = config.norm_num_groups,
                          .norm_eps = config.norm_eps},
                         options);
}

// A strided 3x3 convolution. Padding 0 means to pad the right and the bottom by one, like
// TensorFlow did for the first checkpoints.
at::Tensor Downsampled(const Conv2d& conv, const at::Tensor& x) {
  return conv(conv.padding == 0 ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x);
}

at::Tensor Upsampled(const Conv2d& conv, const at::Tensor& x) {
  return conv(at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}));
}

}  // namespace

DownBlock DownBlock::Load(const WeightScope& scope, const UNet2DConfig& config,
                          const UNet2DLevel& level, const Shape& shape, KernelOptions options) {
  DownBlock block;
  for (size_t i = 0; i < static_cast<size_t>(config.layers_per_block); ++i) {
    block.resnets.push_back(
        ResnetBlock::Load(scope / "resnets" / i, config,
                          {.in = i == 0 ? shape.in : shape.out, .out = shape.out}, options));
    if (level.attention) {
      block.attentions.push_back(
          LoadLevelAttention(scope / "attentions" / i, config, shape.out, options));
    }
  }
  const WeightScope sampler = scope / "downsamplers" / 0;
  if (shape.downsample && level.resampling == Resampling::kConv) {
    block.conv_downsample = Conv2d::Load(sampler / "conv",
                                         {.in = shape.out,
                                          .out = shape.out,
                                          .kernel = 3,
                                          .stride = 2,
                                          .padding = config.downsample_padding},
                                         options);
  } else if (shape.downsample) {
    block.resnet_downsample = ResnetBlock::Load(
        sampler, config, {.in = shape.out, .out = shape.out, .resample = Resample::kDown}, options);
  }
  return block;
}

at::Tensor DownBlock::operator()(at::Tensor x, const at::Tensor& activated_embedding,
                                 Skips& skips) const {
  for (size_t i = 0; i < resnets.size(); ++i) {
    x = resnets[i](x, activated_embedding);
    if (!attentions.empty()) x = attentions[i](x);
    skips.push_back(x);
  }
  if (conv_downsample) skips.push_back(x = Downsampled(*conv_downsample, x));
  if (resnet_downsample) skips.push_back(x = (*resnet_downsample)(x, activated_embedding));
  return x;
}

MidBlock MidBlock::Load(const WeightScope& scope, const UNet2DConfig& config,
                        KernelOptions options) {
  const int64_t channels = config.block_out_channels.back();
  const double scale = config.mid_block_scale_factor;
  const ResnetBlock::Shape shape{
      .in = channels, .out = channels, .resample = Resample::kNone, .output_scale_factor = scale};
  MidBlock block;
  block.resnet_in = ResnetBlock::Load(scope / "resnets" / 0, config, shape, options);
  block.resnet_out = ResnetBlock::Load(scope / "resnets" / 1, config, shape, options);
  if (config.mid_attention) {
    // With scale-shift resnets and without groups of its own, this attention has no norm.
    std::optional<int64_t> groups = config.attn_norm_num_groups;
    if (!groups && config.resnet_time_scale_shift == TimeShift::kDefault) {
      groups = config.norm_num_groups;
    }
    block.attention = Attention::Load(scope / "attentions" / 0,
                                      {.channels = channels,
                                       .heads = config.AttentionHeads(channels),
                                       .norm_groups = groups,
                                       .norm_eps = config.norm_eps,
                                       .output_scale_factor = scale},
                                      options);
  }
  return block;
}

at::Tensor MidBlock::operator()(const at::Tensor& x, const at::Tensor& activated_embedding) const {
  const at::Tensor hidden = resnet_in(x, activated_embedding);
  return resnet_out(attention ? (*attention)(hidden) : hidden, activated_embedding);
}

UpBlock UpBlock::Load(const WeightScope& scope, const UNet2DConfig& config,
                      const UNet2DLevel& level, const Shape& shape, KernelOptions options) {
  UpBlock block;
  const size_t layers = static_cast<size_t>(config.layers_per_block) + 1;
  for (size_t i = 0; i < layers; ++i) {
    const int64_t below = i == 0 ? shape.in : shape.out;
    const int64_t skip = i + 1 == layers ? shape.last_skip : shape.out;
    block.resnets.push_back(ResnetBlock::Load(scope / "resnets" / i, config,
                                              {.in = below + skip, .out = shape.out}, options));
    if (level.attention) {
      block.attentions.push_back(
          LoadLevelAttention(scope / "attentions" / i, config, shape.out, options));
    }
  }
  const WeightScope sampler = scope / "upsamplers" / 0;
  if (shape.upsample && level.resampling == Resampling::kConv) {
    block.conv_upsample =
        Conv2d::Load(sampler / "conv", {.in = shape.out, .out = shape.out}, options);
  } else if (shape.upsample) {
    block.resnet_upsample = ResnetBlock::Load(
        sampler, config, {.in = shape.out, .out = shape.out, .resample = Resample::kUp}, options);
  }
  return block;
}

at::Tensor UpBlock::operator()(at::Tensor x, const at::Tensor& activated_embedding,
                               Skips& skips) const {
  for (size_t i = 0; i < resnets.size(); ++i) {
    x = resnets[i](at::cat({x, skips.back()}, 1), activated_embedding);
    skips.pop_back();
    if (!attentions.empty()) x = attentions[i](x);
  }
  if (conv_upsample) x = Upsampled(*conv_upsample, x);
  if (resnet_upsample) x = (*resnet_upsample)(x, activated_embedding);
  return x;
}

}  // namespace denoise::nn
