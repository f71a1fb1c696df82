// Weights packed for oneDNN, and the operators that take them. Internal to core/nn.
//
// oneDNN's kernels read weights in an order of their own. From plain weights they make that order
// anew in every call, which takes longer than the product itself where an image has few pixels. The
// values computed are the same. Packed weights have no gradient.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace denoise::nn::onednn {

// Whether the operators below are batch-invariant on this machine, for any shape: from AVX2 on.
bool IsBatchInvariant();

// Packs a convolution's weight [out, in, k, k], float32 on the CPU. The result has the same sizes
// and bytes of memory, rounded up to whole blocks. Unpack it with Tensor::to_dense().
at::Tensor PackConvolution(const at::Tensor& weight, int64_t stride, int64_t padding);

// Packs the weight [out, in] of a linear layer over many tokens: as one of a 1x1 convolution, [out,
// in, 1, 1], where oneDNN's linear layers are not batch-invariant.
at::Tensor PackLinear(const at::Tensor& weight);

// x [B, in, H, W] in channels-last order; `bias` may be undefined.
at::Tensor Convolution(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias,
                       int64_t stride, int64_t padding);

// x [B, tokens, in] contiguous -> [B, tokens, out]; `bias` may be undefined.
at::Tensor Linear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias);

}  // namespace denoise::nn::onednn
