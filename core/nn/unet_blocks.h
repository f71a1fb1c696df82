// The down, mid and up blocks of a UNet.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <variant>
#include <vector>

#include "core/nn/attention.h"
#include "core/nn/layers.h"
#include "core/nn/resnet_block.h"
#include "core/nn/transformer2d.h"
#include "core/nn/unet_choices.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

// Outputs of the down blocks that the up blocks consume, last in first out.
using Skips = std::vector<at::Tensor>;

// What a network tells its blocks besides x.
struct BlockContext {
  at::Tensor activated_embedding;  // [B, embedding_dim]
  TextStates text;                 // empty for networks that read none
  RowAdapters adapters = {};
};

// The layer behind a resnet: none, attention over pixels, or a transformer that also reads the
// text.
class BlockAttention {
 public:
  using Shape = std::variant<std::monostate, Attention::Shape, Transformer2D::Shape>;

  static BlockAttention Load(const WeightScope& scope, const Shape& shape, KernelOptions options);
  // x [B, C, H, W] -> the same shape.
  at::Tensor operator()(const at::Tensor& x, const BlockContext& context) const;

 private:
  std::variant<std::monostate, Attention, Transformer2D> layer_;
};

// One resnet per entry of `attentions`, each followed by that; then half the resolution, except at
// the deepest level.
struct DownBlock {
  std::vector<ResnetBlock> resnets;
  std::vector<BlockAttention> attentions;  // one per resnet
  std::optional<Conv2d> conv_downsample;
  std::optional<ResnetBlock> resnet_downsample;

  struct Shape {
    int64_t in;
    int64_t out;
    std::vector<BlockAttention::Shape> attentions;
    std::optional<Resampling> downsample;
    int64_t downsample_padding = 1;  // 0: pad the right and bottom by one instead
  };
  static DownBlock Load(const WeightScope& scope, const ResnetStyle& style, const Shape& shape,
                        KernelOptions options);
  // Pushes the result of every layer onto `skips`.
  at::Tensor operator()(at::Tensor x, const BlockContext& context, Skips& skips) const;
};

// Resnet, optional attention, optional resnet.
struct MidBlock {
  ResnetBlock resnet_in;
  BlockAttention attention;
  std::optional<ResnetBlock> resnet_out;

  struct Shape {
    int64_t channels;
    BlockAttention::Shape attention;
    bool resnet_out = true;
    double output_scale_factor = 1;
  };
  static MidBlock Load(const WeightScope& scope, const ResnetStyle& style, const Shape& shape,
                       KernelOptions options);
  at::Tensor operator()(const at::Tensor& x, const BlockContext& context) const;
};

// One resnet per entry of `attentions`, which consumes one skip and is followed by that; then the
// resolution of the next skip, except at the last level.
struct UpBlock {
  std::vector<ResnetBlock> resnets;
  std::vector<BlockAttention> attentions;  // one per resnet
  std::optional<Conv2d> conv_upsample;
  std::optional<ResnetBlock> resnet_upsample;

  struct Shape {
    int64_t in;  // channels from the level below
    int64_t out;
    int64_t last_skip;  // channels of the last skip; the others have `out`
    std::vector<BlockAttention::Shape> attentions;
    std::optional<Resampling> upsample;
  };
  static UpBlock Load(const WeightScope& scope, const ResnetStyle& style, const Shape& shape,
                      KernelOptions options);
  // Pops one skip per resnet.
  at::Tensor operator()(at::Tensor x, const BlockContext& context, Skips& skips) const;
};

}  // namespace denoise::nn
