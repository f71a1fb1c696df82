#include "core/nn/layers.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mish.h>
#include <ATen/ops/mkldnn_convolution.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>

#include <utility>
#include <vector>

#include "core/nn/cpu_kernels.h"
#include "core/nn/cpu_normalize.h"
#include "core/nn/cpu_tokens.h"
#include "core/nn/onednn.h"

namespace denoise::nn {
namespace {

// Converts to channels-last order with exactly the strides of that order. The stride of a dimension
// of size 1 has no meaning, but LibTorch derives the order from it and would choose another kernel
// for a single row.
at::Tensor InChannelsLast(const at::Tensor& x) {
  const int64_t channels = x.size(1), height = x.size(2), width = x.size(3);
  return x.contiguous(at::MemoryFormat::ChannelsLast)
      .as_strided(x.sizes(), {channels * height * width, 1, channels * width, channels});
}

bool ShouldPack(const at::Tensor& weight, KernelOptions options) {
  return options.pack_weights && weight.defined() && !weight.requires_grad() &&
         OneDnnServes(weight.device(), weight.scalar_type());
}

// [B, C] -> [B, C, 1, 1]
at::Tensor PerPixel(const at::Tensor& x) { return x.unsqueeze(2).unsqueeze(3); }

}  // namespace

bool OneDnnServes(at::Device device, at::ScalarType dtype) {
  return device.is_cpu() && dtype == at::kFloat && at::globalContext().hasMKLDNN() &&
         at::globalContext().userEnabledMkldnn();
}

Linear Linear::Load(const WeightScope& scope, int64_t in, int64_t out, KernelOptions options,
                    Bias bias) {
  const Initial initial = Initial::ForFanIn(in);
  at::Tensor weight = scope.Take("weight", {out, in}, initial);
  if (weight.defined() && options.batch_invariant) {
    weight = weight.t().contiguous().t();
    if (!weight.requires_grad()) scope.Replace("weight", weight);
  }
  at::Tensor added;
  if (bias == Bias::kAdded) {
    added = scope.Take("bias", {out}, initial);
  } else if (weight.defined()) {
    added = at::zeros({out}, weight.options());
  }
  return {std::move(weight), std::move(added), options.batch_invariant, scope.Name()};
}

at::Tensor Linear::operator()(const at::Tensor& x, const RowAdapters& adapters) const {
  at::Tensor y = batch_invariant && cpu::Serves({x, weight, bias})
                     ? cpu::Linear(x, weight.t(), bias)
                     : at::linear(x, weight, bias);
  if (!adapters.empty()) adapters.AddLinear(name, x, y);
  return y;
}

TokenLinear TokenLinear::Load(const WeightScope& scope, const Shape& shape, KernelOptions options) {
  const Initial initial = Initial::ForFanIn(shape.in);
  std::vector<int64_t> sizes = {shape.out, shape.in};
  if (shape.stored_as_convolution) sizes.insert(sizes.end(), {1, 1});
  at::Tensor weight = scope.Take("weight", sizes, initial);
  at::Tensor bias =
      shape.bias == Bias::kAdded ? scope.Take("bias", {shape.out}, initial) : at::Tensor();
  if (weight.defined()) weight = weight.view({shape.out, shape.in});
  if (ShouldPack(weight, options)) {
    weight = onednn::PackLinear(weight);
    scope.Replace("weight", weight);
  }
  return {std::move(weight), std::move(bias), scope.Name()};
}

at::Tensor TokenLinear::operator()(const at::Tensor& x, const RowAdapters& adapters) const {
  at::Tensor y = weight.is_mkldnn()
                     ? onednn::Linear(x.contiguous(), weight, bias)
                     : at::linear(x, weight, bias.defined() ? std::optional(bias) : std::nullopt);
  if (!adapters.empty()) adapters.AddLinear(name, x, y);
  return y;
}

Conv2d Conv2d::Load(const WeightScope& scope, const Shape& shape, KernelOptions options) {
  const int64_t kernel = shape.kernel;
  const Initial initial = Initial::ForFanIn(shape.in * kernel * kernel);
  at::Tensor weight = scope.Take("weight", {shape.out, shape.in, kernel, kernel}, initial);
  at::Tensor bias = scope.Take("bias", {shape.out}, initial);
  Conv2d layer = Make(weight, std::move(bias), shape, options);
  layer.name = scope.Name();
  if (layer.weight.defined() && !layer.weight.requires_grad()) {
    scope.Replace("weight", layer.weight);
  }
  return layer;
}

Conv2d Conv2d::Make(const at::Tensor& weight, at::Tensor bias, const Shape& shape,
                    KernelOptions options) {
  // In training, weights are bound again for every call, so reordering would cost a copy each time.
  at::Tensor ordered = weight;
  if (ShouldPack(weight, options)) {
    const bool pointwise = shape.kernel == 1 && shape.stride == 1 && shape.padding == 0;
    ordered = pointwise ? onednn::PackLinear(weight.flatten(1))
                        : onednn::PackConvolution(weight, shape.stride, shape.padding);
  } else if (weight.defined() && !weight.requires_grad()) {
    ordered = weight.contiguous(PreferredMemoryFormat(weight.device()));
  }
  return {.weight = std::move(ordered),
          .bias = std::move(bias),
          .stride = shape.stride,
          .padding = shape.padding,
          .batch_invariant = options.batch_invariant};
}

at::Tensor Conv2d::operator()(const at::Tensor& x, const RowAdapters& adapters) const {
  at::Tensor y = Convolved(x);
  if (!adapters.empty()) adapters.AddConvolution(name, x, stride, padding, y);
  return y;
}

at::Tensor Conv2d::Convolved(const at::Tensor& x) const {
  if (weight.is_mkldnn()) return Packed(x);
  const std::vector<int64_t> paddings(2, padding), strides(2, stride), dilation(2, 1);
  const auto conv2d = [&](const at::Tensor& rows) {
    return at::conv2d(rows, weight, bias, strides, paddings, dilation);
  };
  if (!batch_invariant || !OneDnnServes(x.device(), x.scalar_type())) return conv2d(x);
  return at::mkldnn_convolution(InChannelsLast(x), weight, bias, paddings, strides, dilation, 1);
}

at::Tensor Conv2d::Packed(const at::Tensor& x) const {
  const at::Tensor image = InChannelsLast(x);
  if (weight.dim() == 4) return onednn::Convolution(image, weight, bias, stride, padding);
  return onednn::Linear(image.permute({0, 2, 3, 1}).flatten(1, 2), weight, bias)
      .unflatten(1, {x.size(2), x.size(3)})
      .permute({0, 3, 1, 2});
}

GroupNorm GroupNorm::Load(const WeightScope& scope, int64_t channels, int64_t groups, double eps,
                          KernelOptions options) {
  return {scope.Take("weight", {channels}, Initial::Constant(1)),
          scope.Take("bias", {channels}, Initial::Constant(0)), groups, eps, options};
}

at::Tensor GroupNorm::operator()(const at::Tensor& x, std::optional<Activation> activation,
                                 const Modulation& modulation) const {
  const bool silu = activation == Activation::kSilu;
  const cpu::NormalizeArgs fused = {
      x,   weight, bias, groups, eps, modulation.shift_before, modulation.scale, modulation.shift,
      silu};
  const auto tensors = {
      x, weight, bias, modulation.shift_before, modulation.scale, modulation.shift};
  const bool serves = cpu::Serves(tensors);
  at::Tensor y;
  if (options.fuse_normalization && (serves || cpu::Trains(tensors))) {
    y = serves ? cpu::Normalize(fused).y : cpu::DifferentiableNormalize(fused);
    if (silu) return y;
  } else {
    y = modulation.shift_before.defined() ? x + PerPixel(modulation.shift_before) : x;
    y = at::group_norm(y, groups, weight, bias, eps);
    if (modulation.scale.defined()) y = y * (PerPixel(modulation.scale) + 1);
    if (modulation.shift.defined()) y = y + PerPixel(modulation.shift);
  }
  return activation ? Activate(*activation, y, options) : y;
}

LayerNorm LayerNorm::Load(const WeightScope& scope, int64_t channels) {
  return {scope.Take("weight", {channels}, Initial::Constant(1)),
          scope.Take("bias", {channels}, Initial::Constant(0))};
}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  if (cpu::Serves({x, weight, bias})) return cpu::LayerNorm(x, weight, bias, eps);
  return at::layer_norm(x, weight.sizes(), weight, bias, eps);
}

at::Tensor GatedGelu(const at::Tensor& x) {
  if (cpu::Serves({x})) return cpu::GatedGelu(x);
  const std::vector<at::Tensor> halves = x.chunk(2, -1);
  return halves[0] * at::gelu(halves[1]);
}

at::Tensor Activate(Activation activation, const at::Tensor& x, KernelOptions options) {
  const auto apply = [activation](const at::Tensor& t) {
    switch (activation) {
      case Activation::kSilu:
        return at::silu(t);
      case Activation::kMish:
        // In float32 whatever the network runs in, as not every LibTorch has a bfloat16 kernel.
        return at::mish(t.to(at::kFloat)).to(t.scalar_type());
      case Activation::kGelu:
        return at::gelu(t);
      case Activation::kRelu:
        return at::relu(t);
    }
    return t;
  };
  if (activation == Activation::kSilu && cpu::Serves({x})) return cpu::Silu(x);
  return options.batch_invariant && x.device().is_cpu() ? RowWise(x, apply) : apply(x);
}

at::MemoryFormat PreferredMemoryFormat(at::Device device) {
  return device.is_cpu() ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

}  // namespace denoise::nn
