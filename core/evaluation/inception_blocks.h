// The building blocks of the Inception network: blocks of parallel branches, described as tables.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/nn/weight_reader.h"

namespace denoise {

// A convolution, batch normalisation and ReLU.
struct InceptionConvolutionSpec {
  const char* name;  // within its block
  int64_t out = 0;
  int64_t kernel_height = 1;
  int64_t kernel_width = 1;
  int64_t stride = 1;
  bool padded = true;  // such that stride 1 keeps the size
};

enum class InceptionPool {
  kNone,
  kAverage,        // 3 x 3, stride 1; at the border it averages fewer pixels
  kMax,            // 3 x 3, stride 1
  kMaxDownsample,  // 3 x 3, stride 2, without padding
};

struct InceptionBranchSpec {
  std::vector<InceptionConvolutionSpec> convolutions;
  std::vector<InceptionConvolutionSpec> fork = {};  // in parallel, after the convolutions
  InceptionPool pool = InceptionPool::kNone;        // before the convolutions
};

struct InceptionBlockSpec {
  const char* name;  // empty if its convolutions are named without a prefix
  std::vector<InceptionBranchSpec> branches;
};

// Immutable. The normalisation is folded into the convolution.
struct InceptionConvolution {
  at::Tensor weight;  // [out, in, height, width]
  at::Tensor bias;    // [out]
  int64_t stride = 1;
  std::vector<int64_t> padding;

  at::Tensor operator()(const at::Tensor& x) const;
};

struct InceptionBranch {
  InceptionPool pool = InceptionPool::kNone;
  std::vector<InceptionConvolution> convolutions;
  std::vector<InceptionConvolution> fork;

  at::Tensor operator()(at::Tensor x) const;
};

struct InceptionBlock {
  std::vector<InceptionBranch> branches;
  int64_t out = 0;  // channels

  // Missing or misshapen tensors are reported by the reader; the block must not be used then.
  static InceptionBlock Load(const nn::WeightScope& scope, const InceptionBlockSpec& spec,
                             int64_t in);
  // [B, in, H, W] -> [B, out, H', W'], the branches' channels in order.
  at::Tensor operator()(const at::Tensor& x) const;
};

}  // namespace denoise
