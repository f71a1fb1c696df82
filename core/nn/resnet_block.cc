#include "core/nn/resnet_block.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/upsample_nearest2d.h>

namespace denoise::nn {
namespace {

at::Tensor Resampled(Resample resample, const at::Tensor& x) {
  switch (resample) {
    case Resample::kNone:
      return x;
    case Resample::kDown:
      return at::avg_pool2d(x, {2, 2}, {2, 2});
    case Resample::kUp:
      return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
  }
  return x;
}

}  // namespace

ResnetBlock ResnetBlock::Load(const WeightScope& scope, const ResnetStyle& style,
                              const Shape& shape, KernelOptions options) {
  const int64_t groups = style.norm_groups;
  const bool scale_shift = style.time_shift == TimeShift::kScaleShift;
  ResnetBlock block{
      .norm1 = GroupNorm::Load(scope / "norm1", shape.in, groups, style.norm_eps, options),
      .conv1 = Conv2d::Load(scope / "conv1", {.in = shape.in, .out = shape.out}, options),
      .time_projection = Linear::Load(scope / "time_emb_proj", style.embedding_dim,
                                      scale_shift ? 2 * shape.out : shape.out, options),
      .norm2 = GroupNorm::Load(scope / "norm2", shape.out, groups, style.norm_eps, options),
      .conv2 = Conv2d::Load(scope / "conv2", {.in = shape.out, .out = shape.out}, options),
      .shortcut = std::nullopt,
      .resample = shape.resample,
      .time_shift = style.time_shift,
      .activation = style.activation,
      .output_scale_factor = shape.output_scale_factor};
  if (shape.in != shape.out) {
    block.shortcut = Conv2d::Load(
        scope / "conv_shortcut",
        {.in = shape.in, .out = shape.out, .kernel = 1, .stride = 1, .padding = 0}, options);
  }
  return block;
}

at::Tensor ResnetBlock::operator()(const at::Tensor& x, const at::Tensor& activated_embedding,
                                   const RowAdapters& adapters) const {
  const at::Tensor hidden = conv1(Resampled(resample, norm1(x, activation)), adapters);
  const at::Tensor time = time_projection(activated_embedding, adapters);
  Modulation modulation;
  if (time_shift == TimeShift::kDefault) {
    modulation.shift_before = time;
  } else {
    const std::vector<at::Tensor> halves = time.chunk(2, 1);
    modulation.scale = halves[0];
    modulation.shift = halves[1];
  }
  const at::Tensor change = conv2(norm2(hidden, activation, modulation), adapters);
  const at::Tensor residual = Resampled(resample, x);
  const at::Tensor sum = (shortcut ? (*shortcut)(residual, adapters) : residual) + change;
  return output_scale_factor == 1 ? sum : sum / output_scale_factor;
}

}  // namespace denoise::nn
