#include "core/evaluation/inception_blocks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/relu.h>

namespace denoise {
namespace {

constexpr double kNormEps = 1e-3;

// w' = w gamma / sqrt(var + eps), b' = beta - mean gamma / sqrt(var + eps)
InceptionConvolution Fold(const at::Tensor& weight, const at::Tensor& gamma, const at::Tensor& beta,
                          const at::Tensor& mean, const at::Tensor& variance) {
  const at::Tensor scale = gamma.to(at::kDouble) / (variance.to(at::kDouble) + kNormEps).sqrt();
  return {.weight = (weight.to(at::kDouble) * scale.view({-1, 1, 1, 1})).to(weight.scalar_type()),
          .bias = (beta.to(at::kDouble) - mean.to(at::kDouble) * scale).to(beta.scalar_type())};
}

InceptionConvolution LoadConvolution(const nn::WeightScope& scope,
                                     const InceptionConvolutionSpec& spec, int64_t in) {
  const nn::Initial none = nn::Initial::Constant(0);  // unused: it is never initialised
  const auto norm = [&](const char* name) { return (scope / "bn").Take(name, {spec.out}, none); };
  const at::Tensor weight =
      (scope / "conv").Take("weight", {spec.out, in, spec.kernel_height, spec.kernel_width}, none);
  const at::Tensor gamma = norm("weight"), beta = norm("bias");
  const at::Tensor mean = norm("running_mean"), variance = norm("running_var");
  for (const at::Tensor& tensor : {weight, gamma, beta, mean, variance}) {
    if (!tensor.defined()) return {};
  }
  InceptionConvolution convolution = Fold(weight, gamma, beta, mean, variance);
  convolution.stride = spec.stride;
  convolution.padding = {0, 0};
  if (spec.padded) convolution.padding = {spec.kernel_height / 2, spec.kernel_width / 2};
  return convolution;
}

at::Tensor Pooled(InceptionPool pool, const at::Tensor& x) {
  switch (pool) {
    case InceptionPool::kAverage:
      return at::avg_pool2d(x, {3, 3}, {1, 1}, {1, 1}, /*ceil_mode=*/false,
                            /*count_include_pad=*/false);
    case InceptionPool::kMax:
      return at::max_pool2d(x, {3, 3}, {1, 1}, {1, 1});
    case InceptionPool::kMaxDownsample:
      return at::max_pool2d(x, {3, 3}, {2, 2});
    case InceptionPool::kNone:
      break;
  }
  return x;
}

// Changes `channels` from the branch's input channels to its output channels.
InceptionBranch LoadBranch(const nn::WeightScope& scope, const InceptionBranchSpec& spec,
                           int64_t& channels) {
  InceptionBranch branch{.pool = spec.pool};
  for (const InceptionConvolutionSpec& convolution : spec.convolutions) {
    branch.convolutions.push_back(LoadConvolution(scope / convolution.name, convolution, channels));
    channels = convolution.out;
  }
  int64_t forked = 0;
  for (const InceptionConvolutionSpec& convolution : spec.fork) {
    branch.fork.push_back(LoadConvolution(scope / convolution.name, convolution, channels));
    forked += convolution.out;
  }
  if (forked > 0) channels = forked;
  return branch;
}

}  // namespace

at::Tensor InceptionConvolution::operator()(const at::Tensor& x) const {
  return at::relu(at::conv2d(x, weight, bias, /*stride=*/{stride, stride}, padding));
}

at::Tensor InceptionBranch::operator()(at::Tensor x) const {
  x = Pooled(pool, x);
  for (const InceptionConvolution& convolution : convolutions) x = convolution(x);
  if (fork.empty()) return x;
  std::vector<at::Tensor> forked;
  for (const InceptionConvolution& convolution : fork) forked.push_back(convolution(x));
  return at::cat(forked, 1);
}

InceptionBlock InceptionBlock::Load(const nn::WeightScope& scope, const InceptionBlockSpec& spec,
                                    int64_t in) {
  const nn::WeightScope inner = *spec.name == '\0' ? scope : scope / spec.name;
  InceptionBlock block;
  for (const InceptionBranchSpec& branch : spec.branches) {
    int64_t channels = in;
    block.branches.push_back(LoadBranch(inner, branch, channels));
    block.out += channels;
  }
  return block;
}

at::Tensor InceptionBlock::operator()(const at::Tensor& x) const {
  if (branches.size() == 1) return branches[0](x);
  std::vector<at::Tensor> outputs;
  for (const InceptionBranch& branch : branches) outputs.push_back(branch(x));
  return at::cat(outputs, 1);
}

}  // namespace denoise
