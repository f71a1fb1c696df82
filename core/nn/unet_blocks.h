// The down, mid and up blocks of a UNet.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "core/nn/attention.h"
#include "core/nn/layers.h"
#include "core/nn/resnet_block.h"
#include "core/nn/unet2d_config.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

// Outputs of the down blocks that the up blocks consume, last in first out.
using Skips = std::vector<at::Tensor>;

// layers_per_block times a resnet and an optional attention; then half the resolution, except at
// the deepest level.
struct DownBlock {
  std::vector<ResnetBlock> resnets;
  std::vector<Attention> attentions;  // one per resnet, or none
  std::optional<Conv2d> conv_downsample;
  std::optional<ResnetBlock> resnet_downsample;

  struct Shape {
    int64_t in;
    int64_t out;
    bool downsample;
  };
  static DownBlock Load(const WeightScope& scope, const UNet2DConfig& config,
                        const UNet2DLevel& level, const Shape& shape, KernelOptions options);
  // Pushes the result of every layer onto `skips`.
  at::Tensor operator()(at::Tensor x, const at::Tensor& activated_embedding, Skips& skips) const;
};

// Resnet, optional attention, resnet.
struct MidBlock {
  ResnetBlock resnet_in;
  std::optional<Attention> attention;
  ResnetBlock resnet_out;

  static MidBlock Load(const WeightScope& scope, const UNet2DConfig& config, KernelOptions options);
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& activated_embedding) const;
};

// layers_per_block + 1 times a resnet, which consumes one skip, and an optional attention; then
// twice the resolution, except at the last level.
struct UpBlock {
  std::vector<ResnetBlock> resnets;
  std::vector<Attention> attentions;  // one per resnet, or none
  std::optional<Conv2d> conv_upsample;
  std::optional<ResnetBlock> resnet_upsample;

  struct Shape {
    int64_t in;  // channels from the level below
    int64_t out;
    int64_t last_skip;  // channels of the last skip; the others have `out`
    bool upsample;
  };
  static UpBlock Load(const WeightScope& scope, const UNet2DConfig& config,
                      const UNet2DLevel& level, const Shape& shape, KernelOptions options);
  // Pops one skip per resnet.
  at::Tensor operator()(at::Tensor x, const at::Tensor& activated_embedding, Skips& skips) const;
};

}  // namespace denoise::nn
