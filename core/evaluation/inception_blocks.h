// What the Inception network is made of: blocks of parallel branches, described as tables.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/nn/weight_reader.h"

namespace denoise {

// A convolution, batch normalisation and ReLU.
struct InceptionConvolutionSpec {
  const char* name;  // in its block
  int64_t out = 0;
  int64_t kernel_height = 1;
  int64_t kernel_width = 1;
  int64_t stride = 1;
  bool padded = true;  // so that stride 1 keeps the size
};

enum class InceptionPool {
  kNone,
  kAverage,        // 3 x 3, stride 1, padded by nothing: the border averages fewer
  kMax,            // 3 x 3, stride 1
  kMaxDownsample,  // 3 x 3, stride 2, without padding
};

struct InceptionBranchSpec {
  std::vector<InceptionConvolutionSpec> convolutions;
  std::vector<InceptionConvolutionSpec> fork = {};  // side by side after them
  InceptionPool pool = InceptionPool::kNone;        // before them
};

struct InceptionBlockSpec {
  const char* name;  // empty: its convolutions are named without it
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

  // What does not fit is left to the reader to tell; the block is of no use then.
  static InceptionBlock Load(const nn::WeightScope& scope, const InceptionBlockSpec& spec,
                             int64_t in);
  // [B, in, H, W] -> [B, out, H', W'], the branches' channels in their order.
  at::Tensor operator()(const at::Tensor& x) const;
};

}  // namespace denoise
