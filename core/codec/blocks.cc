#include "core/codec/blocks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/upsample_nearest2d.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace denoise::codec {
namespace {

using nn::Conv2d;
using nn::GroupNorm;
using nn::KernelOptions;
using nn::WeightScope;

constexpr double kEpsilon = 1e-6;
constexpr int64_t kMaxScores = int64_t{16} << 20;  // 64 MiB in float32

GroupNorm LoadNorm(const WeightScope& scope, const EncoderDecoderConfig& config, int64_t channels,
                   KernelOptions options) {
  return GroupNorm::Load(scope, channels, config.norm_num_groups, kEpsilon, options);
}

// softmax(q k^T / sqrt(C)) v for one picture's q, k and v, [1, 3 C, H, W] -> [1, C, H, W].
at::Tensor Attend(const at::Tensor& projected) {
  const int64_t channels = projected.size(1) / 3;
  const int64_t height = projected.size(2), width = projected.size(3), pixels = height * width;
  const at::Tensor by_pixel = projected.permute({0, 2, 3, 1}).reshape({pixels, 3 * channels});
  // Each in memory of its own: matrix products add in an order that depends on how their operands
  // are aligned.
  const auto part = [&](int64_t i) {
    return by_pixel.narrow(1, i * channels, channels).clone(at::MemoryFormat::Contiguous);
  };
  const at::Tensor query = part(0).mul_(1 / std::sqrt(static_cast<double>(channels)));
  const at::Tensor key = part(1).t(), value = part(2);
  const at::Tensor result = at::empty({pixels, channels}, value.options());
  const int64_t piece = std::max<int64_t>(1, kMaxScores / pixels);
  for (int64_t first = 0; first < pixels; first += piece) {
    const int64_t count = std::min(piece, pixels - first);
    const at::Tensor scores = at::mm(query.narrow(0, first, count), key);
    // Softmax in float32, whatever the codec runs in.
    const at::Tensor weights = at::softmax(scores, -1, at::kFloat).to(value.scalar_type());
    result.narrow(0, first, count).copy_(at::mm(weights, value));
  }
  return result.view({1, height, width, channels}).permute({0, 3, 1, 2});
}

}  // namespace

ResidualBlock ResidualBlock::Load(const WeightScope& scope, const EncoderDecoderConfig& config,
                                  int64_t in, int64_t out, KernelOptions options) {
  ResidualBlock block{.norm1 = LoadNorm(scope / "norm1", config, in, options),
                      .conv1 = Conv2d::Load(scope / "conv1", {.in = in, .out = out}, options),
                      .norm2 = LoadNorm(scope / "norm2", config, out, options),
                      .conv2 = Conv2d::Load(scope / "conv2", {.in = out, .out = out}, options),
                      .shortcut = std::nullopt,
                      .activation = config.act_fn};
  if (in != out) {
    block.shortcut =
        Conv2d::Load(scope / "conv_shortcut",
                     {.in = in, .out = out, .kernel = 1, .stride = 1, .padding = 0}, options);
  }
  return block;
}

at::Tensor ResidualBlock::operator()(const at::Tensor& x) const {
  at::Tensor change = conv1(norm1(x, activation));
  change = norm2(change, activation);
  change = conv2(change);
  return change.add_(shortcut ? (*shortcut)(x) : x);
}

PixelAttention PixelAttention::Load(const WeightScope& scope, const EncoderDecoderConfig& config,
                                    int64_t channels, KernelOptions options) {
  return {nn::Attention::Load(scope,
                              {.channels = channels,
                               .heads = 1,
                               .norm_groups = config.norm_num_groups,
                               .norm_eps = kEpsilon},
                              options)};
}

at::Tensor PixelAttention::operator()(const at::Tensor& x) const {
  const at::Tensor projected = layers.query_key_value((*layers.norm)(x));
  return layers.output(nn::RowWise(projected, Attend)).add_(x);
}

Level Level::Load(const WeightScope& scope, const EncoderDecoderConfig& config, const Shape& shape,
                  KernelOptions options) {
  Level level;
  for (size_t i = 0; i < static_cast<size_t>(shape.resnets); ++i) {
    const int64_t in = i == 0 ? shape.in : shape.out;
    level.resnets.push_back(
        ResidualBlock::Load(scope / "resnets" / i, config, in, shape.out, options));
    if (shape.attention) {
      level.attentions.push_back(
          PixelAttention::Load(scope / "attentions" / i, config, shape.out, options));
    }
  }
  return level;
}

at::Tensor Level::operator()(at::Tensor x) const {
  for (size_t i = 0; i < resnets.size(); ++i) {
    x = resnets[i](x);
    if (!attentions.empty()) x = attentions[i](x);
  }
  // The right and the bottom are padded by one, like TensorFlow does.
  if (downsample) x = (*downsample)(at::constant_pad_nd(x, {0, 1, 0, 1}));
  if (upsample) x = (*upsample)(at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}));
  return x;
}

Middle Middle::Load(const WeightScope& scope, const EncoderDecoderConfig& config,
                    KernelOptions options) {
  const int64_t channels = config.block_out_channels.back();
  const auto resnet = [&](size_t i) {
    return ResidualBlock::Load(scope / "resnets" / i, config, channels, channels, options);
  };
  Middle middle{.first = resnet(0), .attention = std::nullopt, .last = resnet(1)};
  if (config.mid_attention) {
    middle.attention = PixelAttention::Load(scope / "attentions" / 0, config, channels, options);
  }
  return middle;
}

at::Tensor Middle::operator()(at::Tensor x) const {
  x = first(x);
  if (attention) x = (*attention)(x);
  return last(x);
}

Encoder Encoder::Load(const WeightScope& scope, const EncoderDecoderConfig& config,
                      int64_t out_channels, KernelOptions options) {
  const std::vector<int64_t>& channels = config.block_out_channels;
  Encoder encoder;
  encoder.conv_in =
      Conv2d::Load(scope / "conv_in", {.in = config.picture_channels, .out = channels[0]}, options);
  for (size_t i = 0; i < channels.size(); ++i) {
    const WeightScope block = scope / "down_blocks" / i;
    Level level = Level::Load(block, config,
                              {.in = channels[i == 0 ? 0 : i - 1],
                               .out = channels[i],
                               .resnets = config.layers_per_block,
                               .attention = config.down_attention[i]},
                              options);
    if (i + 1 < channels.size()) {
      level.downsample = Conv2d::Load(
          block / "downsamplers" / 0 / "conv",
          {.in = channels[i], .out = channels[i], .kernel = 3, .stride = 2, .padding = 0}, options);
    }
    encoder.levels.push_back(std::move(level));
  }
  encoder.middle = Middle::Load(scope / "mid_block", config, options);
  encoder.norm_out = LoadNorm(scope / "conv_norm_out", config, channels.back(), options);
  encoder.conv_out =
      Conv2d::Load(scope / "conv_out", {.in = channels.back(), .out = out_channels}, options);
  return encoder;
}

at::Tensor Encoder::operator()(at::Tensor x) const {
  x = conv_in(x);
  for (const Level& level : levels) x = level(std::move(x));
  x = middle(std::move(x));
  return conv_out(norm_out(x, Activation::kSilu));
}

Decoder Decoder::Load(const WeightScope& scope, const EncoderDecoderConfig& config,
                      KernelOptions options) {
  const std::vector<int64_t>& channels = config.block_out_channels;
  const size_t levels = channels.size();
  Decoder decoder;
  decoder.conv_in = Conv2d::Load(scope / "conv_in",
                                 {.in = config.latent_channels, .out = channels.back()}, options);
  decoder.middle = Middle::Load(scope / "mid_block", config, options);
  for (size_t i = 0; i < levels; ++i) {
    const WeightScope block = scope / "up_blocks" / i;
    const int64_t out = channels[levels - 1 - i];
    Level level = Level::Load(block, config,
                              {.in = i == 0 ? out : channels[levels - i],
                               .out = out,
                               .resnets = config.layers_per_block + 1,
                               .attention = config.up_attention[i]},
                              options);
    if (i + 1 < levels) {
      level.upsample =
          Conv2d::Load(block / "upsamplers" / 0 / "conv", {.in = out, .out = out}, options);
    }
    decoder.levels.push_back(std::move(level));
  }
  decoder.norm_out = LoadNorm(scope / "conv_norm_out", config, channels[0], options);
  decoder.conv_out = Conv2d::Load(scope / "conv_out",
                                  {.in = channels[0], .out = config.picture_channels}, options);
  return decoder;
}

at::Tensor Decoder::operator()(at::Tensor x) const {
  x = middle(conv_in(x));
  for (const Level& level : levels) x = level(std::move(x));
  return conv_out(norm_out(x, Activation::kSilu));
}

}  // namespace denoise::codec
