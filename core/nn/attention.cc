#include "core/nn/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/softmax.h>

#include <cmath>

namespace denoise::nn {
namespace {

struct Projection {
  at::Tensor weight;  // [channels, channels, 1, 1]
  at::Tensor bias;
};

Projection TakeProjection(const WeightScope& scope, const char* name, const char* old_name,
                          int64_t channels) {
  const WeightScope now = scope / name, old = scope / old_name;
  const auto take = [&](const char* leaf, at::IntArrayRef shape) {
    return scope.source.Take({now.prefix + leaf, old.prefix + leaf}, shape,
                             Initial::ForFanIn(channels));
  };
  at::Tensor weight = take("weight", {channels, channels});
  if (weight.defined()) weight = weight.view({channels, channels, 1, 1});
  return {weight, take("bias", {channels})};
}

}  // namespace

Attention Attention::Load(const WeightScope& scope, const Shape& shape, KernelOptions options) {
  const int64_t channels = shape.channels;
  Attention attention;
  attention.heads = shape.heads;
  attention.output_scale_factor = shape.output_scale_factor;
  if (shape.norm_groups) {
    attention.norm = GroupNorm::Load(scope / "group_norm", channels, *shape.norm_groups,
                                     shape.norm_eps, options);
  }
  const Projection q = TakeProjection(scope, "to_q", "query", channels);
  const Projection k = TakeProjection(scope, "to_k", "key", channels);
  const Projection v = TakeProjection(scope, "to_v", "value", channels);
  const Projection out = TakeProjection(scope, "to_out.0", "proj_attn", channels);
  for (const Projection& p : {q, k, v, out}) {
    if (!p.weight.defined() || !p.bias.defined()) return attention;  // the reader has the errors
  }
  const auto pointwise = [&](const at::Tensor& weight, const at::Tensor& bias) {
    return Conv2d::Make(
        weight, bias,
        {.in = channels, .out = weight.size(0), .kernel = 1, .stride = 1, .padding = 0}, options);
  };
  attention.query_key_value =
      pointwise(at::cat({q.weight, k.weight, v.weight}), at::cat({q.bias, k.bias, v.bias}));
  attention.output = pointwise(out.weight, out.bias);
  return attention;
}

at::Tensor Attention::operator()(const at::Tensor& x) const {
  const at::Tensor projected = query_key_value(norm ? (*norm)(x) : x);
  const bool one_by_one = query_key_value.batch_invariant && x.device().is_cpu();
  const at::Tensor mixed =
      one_by_one ? RowWise(projected, [this](const at::Tensor& row) { return Attend(row); })
                 : Attend(projected);
  const at::Tensor sum = output(mixed) + x;
  return output_scale_factor == 1 ? sum : sum / output_scale_factor;
}

at::Tensor Attention::Attend(const at::Tensor& projected) const {
  const int64_t batch = projected.size(0), channels = projected.size(1) / 3;
  const int64_t height = projected.size(2), width = projected.size(3), pixels = height * width;
  const int64_t head_dim = channels / heads;
  // [3, B * heads, pixels, head_dim], in memory of its own: matrix products add in an order that
  // depends on how their operands are aligned.
  const at::Tensor qkv = projected.view({batch, 3, heads, head_dim, pixels})
                             .permute({1, 0, 2, 4, 3})
                             .clone(at::MemoryFormat::Contiguous)
                             .view({3, batch * heads, pixels, head_dim});
  const at::Tensor query = qkv[0] * (1 / std::sqrt(static_cast<double>(head_dim)));
  const at::Tensor scores = at::bmm(query, qkv[1].transpose(1, 2));
  // Softmax in float32, whatever the network runs in.
  const at::Tensor weights = at::softmax(scores, -1, at::kFloat).to(projected.scalar_type());
  return at::bmm(weights, qkv[2])
      .view({batch, heads, pixels, head_dim})
      .transpose(1, 2)
      .reshape({batch, pixels, channels})
      .transpose(1, 2)
      .view({batch, channels, height, width});
}

}  // namespace denoise::nn
