// The layers everything else is built of. Each is a small immutable struct of plain tensors, called
// like a function.
//
// Parameters are never written to, and nothing here turns gradients off: the same code trains once
// its parameters require gradients. Our own linear and SiLU kernels know no gradients, and stay out
// wherever one is wanted. Inference wraps its calls in c10::InferenceMode.
//
// Batch invariance. With `batch_invariant`, where OneDnnServes(), each row of a result is bit for
// bit what it would be alone:
//  - Convolutions call oneDNN directly; at::conv2d goes by the batch in choosing between oneDNN and
//    LibTorch's own kernels.
//  - Linear layers run through a kernel of our own, since the order in which a matrix product sums
//    depends on its number of rows.
//  - So do functions like exp, or else they run row by row: LibTorch computes the tail of a
//    vectorised loop with other instructions than its body, and where the tail lies depends on the
//    batch and on the threads.
//  - Attention over the pixels of an image is the image's own: how a matrix product adds depends on
//    how many there are and on how they lie in memory. Sums, products and copies of elements are
//    exact.
//
// On the CPU images are kept in channels-last order, which oneDNN's convolutions take as it is.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "core/nn/unet2d_config.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

struct KernelOptions {
  bool batch_invariant = true;
  // Normalisations on the CPU run in a kernel of our own, with all that surrounds them, rather than
  // in LibTorch's operators.
  bool fuse_normalization = true;
};

// x W^T + b of x [B, in].
struct Linear {
  at::Tensor weight;  // [out, in], stored transposed where batch-invariant
  at::Tensor bias;    // [out]
  bool batch_invariant = true;

  static Linear Load(const WeightScope& scope, int64_t in, int64_t out, KernelOptions options);
  at::Tensor operator()(const at::Tensor& x) const;
};

// Convolution of x [B, in, H, W].
struct Conv2d {
  at::Tensor weight;  // [out, in, k, k]
  at::Tensor bias;    // [out]
  int64_t stride = 1;
  int64_t padding = 0;
  bool batch_invariant = true;

  struct Shape {
    int64_t in;
    int64_t out;
    int64_t kernel = 3;
    int64_t stride = 1;
    int64_t padding = 1;
  };
  static Conv2d Load(const WeightScope& scope, const Shape& shape, KernelOptions options);
  // From tensors that are at hand.
  static Conv2d Make(const at::Tensor& weight, at::Tensor bias, const Shape& shape,
                     KernelOptions options);
  at::Tensor operator()(const at::Tensor& x) const;
};

// What a normalisation may do besides, per row and channel: each is [B, channels] or undefined.
struct Modulation {
  at::Tensor shift_before;  // added to x beforehand
  at::Tensor scale;         // the result times 1 + scale ...
  at::Tensor shift;         // ... plus shift
};

// Group normalisation (Wu & He 2018) of x [B, channels, H, W].
struct GroupNorm {
  at::Tensor weight;  // [channels]
  at::Tensor bias;    // [channels]
  int64_t groups = 1;
  double eps = 1e-5;
  KernelOptions options;

  static GroupNorm Load(const WeightScope& scope, int64_t channels, int64_t groups, double eps,
                        KernelOptions options);
  // activation(norm(x + shift_before) * (1 + scale) + shift)
  at::Tensor operator()(const at::Tensor& x, std::optional<Activation> activation = std::nullopt,
                        const Modulation& modulation = {}) const;
};

// An elementwise nonlinearity of x [B, ...].
at::Tensor Activate(Activation activation, const at::Tensor& x, KernelOptions options);

// Whether convolutions on `device` in `dtype` can be given to oneDNN.
bool OneDnnServes(at::Device device, at::ScalarType dtype);

// The order in memory that images are best kept in on `device`.
at::MemoryFormat ImageFormat(at::Device device);

}  // namespace denoise::nn
