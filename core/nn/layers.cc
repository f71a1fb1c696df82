#include "core/nn/layers.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mish.h>
#include <ATen/ops/mkldnn_convolution.h>
#include <ATen/ops/mkldnn_reorder_conv2d_weight.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>

#include <utility>
#include <vector>

#include "core/nn/row_wise.h"

namespace denoise::nn {
namespace {

// Rows of one matrix product. Measured to be a size at which OpenBLAS treats every row alike.
constexpr int64_t kLinearBlockRows = 32;

bool OneDnnServes(const at::Tensor& weight) {
  return weight.device().is_cpu() && weight.scalar_type() == at::kFloat &&
         at::globalContext().hasMKLDNN() && at::globalContext().userEnabledMkldnn();
}

bool NeedsGraph(const at::Tensor& x, const at::Tensor& weight) {
  return at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad());
}

}  // namespace

Linear Linear::Load(const WeightScope& scope, int64_t in, int64_t out, KernelOptions options) {
  return {scope.Take("weight", {out, in}), scope.Take("bias", {out}), options.batch_invariant};
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  if (!batch_invariant || !x.device().is_cpu()) return at::linear(x, weight, bias);
  const int64_t rows = x.size(0);
  const int64_t padding = (kLinearBlockRows - rows % kLinearBlockRows) % kLinearBlockRows;
  const at::Tensor padded = at::constant_pad_nd(x, {0, 0, 0, padding});
  std::vector<at::Tensor> blocks;
  for (int64_t first = 0; first < rows; first += kLinearBlockRows) {
    blocks.push_back(at::addmm(bias, padded.narrow(0, first, kLinearBlockRows), weight.t()));
  }
  const at::Tensor all = blocks.size() == 1 ? blocks.front() : at::cat(blocks);
  return all.narrow(0, 0, rows);
}

Conv2d Conv2d::Load(const WeightScope& scope, const Shape& shape, KernelOptions options) {
  at::Tensor weight = scope.Take("weight", {shape.out, shape.in, shape.kernel, shape.kernel});
  at::Tensor bias = scope.Take("bias", {shape.out});
  return Make(std::move(weight), std::move(bias), shape, options);
}

Conv2d Conv2d::Make(at::Tensor weight, at::Tensor bias, const Shape& shape, KernelOptions options) {
  Conv2d conv{.weight = std::move(weight),
              .bias = std::move(bias),
              .packed = {},
              .stride = shape.stride,
              .padding = shape.padding,
              .batch_invariant = options.batch_invariant};
  if (conv.weight.defined() && options.batch_invariant && OneDnnServes(conv.weight)) {
    const std::vector<int64_t> padding(2, conv.padding), stride(2, conv.stride), dilation(2, 1);
    conv.packed =
        at::mkldnn_reorder_conv2d_weight(conv.weight.to_mkldnn(), padding, stride, dilation, 1);
  }
  return conv;
}

at::Tensor Conv2d::operator()(const at::Tensor& x) const {
  const std::vector<int64_t> paddings(2, padding), strides(2, stride), dilation(2, 1);
  if (!batch_invariant || !x.device().is_cpu()) {
    return at::conv2d(x, weight, bias, strides, paddings, dilation);
  }
  if (packed.defined()) {
    const at::Tensor& w = NeedsGraph(x, weight) ? weight : packed;
    return at::mkldnn_convolution(x, w, bias, paddings, strides, dilation, 1);
  }
  return RowWise(x, [&](const at::Tensor& row) {
    return at::conv2d(row, weight, bias, strides, paddings, dilation);
  });
}

GroupNorm GroupNorm::Load(const WeightScope& scope, int64_t channels, int64_t groups, double eps) {
  return {scope.Take("weight", {channels}), scope.Take("bias", {channels}), groups, eps};
}

at::Tensor GroupNorm::operator()(const at::Tensor& x) const {
  return at::group_norm(x, groups, weight, bias, eps);
}

at::Tensor Activate(Activation activation, const at::Tensor& x, KernelOptions options) {
  const auto apply = [activation](const at::Tensor& t) {
    switch (activation) {
      case Activation::kSilu:
        return at::silu(t);
      case Activation::kMish:
        return at::mish(t);
      case Activation::kGelu:
        return at::gelu(t);
      case Activation::kRelu:
        return at::relu(t);
    }
    return t;
  };
  return options.batch_invariant && x.device().is_cpu() ? RowWise(x, apply) : apply(x);
}

}  // namespace denoise::nn
