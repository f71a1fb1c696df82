// The layers that networks are built from. Each is a small immutable struct of plain tensors,
// called like a function.
//
// Parameters are never written to, and nothing here turns gradients off: the same code trains if
// its parameters require gradients. Our own linear and SiLU kernels have no gradients and are not
// used when one is needed. Inference wraps its calls in c10::InferenceMode.
//
// Batch invariance. With `batch_invariant`, and if OneDnnServes(), each row of a result is bit for
// bit what it would be alone:
//  - Convolutions call oneDNN directly, because at::conv2d chooses between oneDNN and LibTorch's
//    own kernels by the size of the batch.
//  - Linear layers of few rows use our own kernel, because a matrix product's order of summation
//    depends on its number of rows. Those over the tokens of images use oneDNN, see onednn.h.
//  - Functions like exp use our own kernels or run row by row: LibTorch computes the tail of a
//    vectorised loop with other instructions than its body, and where the tail begins depends on
//    the batch and the number of threads.
//  - Attention over an image's pixels runs image by image: the order in which a matrix product sums
//    depends on how many there are and on how they lie in memory. Elementwise sums, products and
//    copies are exact.
//
// On the CPU, images are kept in channels-last order, which oneDNN's convolutions use directly.
//
// Linear layers and convolutions know their name in the checkpoint, under which the adapters of a
// batch's rows find them.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/nn/row_adapters.h"
#include "core/nn/unet_choices.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

struct KernelOptions {
  bool batch_invariant = true;
  // Run normalisations on the CPU in our own kernel, fused with the operations around them, instead
  // of LibTorch's operators.
  bool fuse_normalization = true;
  // Where oneDNN serves, hold weights in its own order (onednn.h). It saves time and memory, and
  // costs gradients.
  bool pack_weights = false;
};

enum class Bias { kNone, kAdded };

// x W^T + b for x [B, in].
struct Linear {
  at::Tensor weight;  // [out, in]; stored transposed if batch-invariant
  at::Tensor bias;    // [out]; zeros if the layer has none
  bool batch_invariant = true;
  std::string name = {};

  static Linear Load(const WeightScope& scope, int64_t in, int64_t out, KernelOptions options,
                     Bias bias = Bias::kAdded);
  at::Tensor operator()(const at::Tensor& x, const RowAdapters& adapters = {}) const;
};

// The same for every token of x [B, tokens, in] -> [B, tokens, out].
struct TokenLinear {
  at::Tensor weight;  // [out, in], or packed
  at::Tensor bias;    // [out], or undefined
  std::string name = {};

  struct Shape {
    int64_t in;
    int64_t out;
    Bias bias = Bias::kAdded;
    bool stored_as_convolution = false;  // as [out, in, 1, 1]
  };
  static TokenLinear Load(const WeightScope& scope, const Shape& shape, KernelOptions options);
  at::Tensor operator()(const at::Tensor& x, const RowAdapters& adapters = {}) const;
};

// Convolution of x [B, in, H, W].
struct Conv2d {
  at::Tensor weight;  // [out, in, k, k], or packed; as [out, in] if it is pointwise, since oneDNN's
                      // 1x1 convolutions want another order for each size of image
  at::Tensor bias;    // [out]
  int64_t stride = 1;
  int64_t padding = 0;
  bool batch_invariant = true;
  std::string name = {};

  struct Shape {
    int64_t in;
    int64_t out;
    int64_t kernel = 3;
    int64_t stride = 1;
    int64_t padding = 1;
  };
  static Conv2d Load(const WeightScope& scope, const Shape& shape, KernelOptions options);
  // Makes a layer of given tensors. It has no name.
  static Conv2d Make(const at::Tensor& weight, at::Tensor bias, const Shape& shape,
                     KernelOptions options);
  at::Tensor operator()(const at::Tensor& x, const RowAdapters& adapters = {}) const;

 private:
  at::Tensor Convolved(const at::Tensor& x) const;
  at::Tensor Packed(const at::Tensor& x) const;
};

// Optional operations around a normalisation, per row and channel: each [B, channels] or undefined.
struct Modulation {
  at::Tensor shift_before;  // added to x before the normalisation
  at::Tensor scale;         // the result is multiplied by 1 + scale ...
  at::Tensor shift;         // ... and shift is added
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

// Layer normalisation (Ba et al. 2016) of the channels of each token of x [B, tokens, channels].
struct LayerNorm {
  at::Tensor weight;  // [channels]
  at::Tensor bias;    // [channels]
  double eps = 1e-5;

  static LayerNorm Load(const WeightScope& scope, int64_t channels);
  at::Tensor operator()(const at::Tensor& x) const;
};

// a * GELU(b) for the halves [a, b] of the last dimension of x (Shazeer 2020), with the exact GELU.
at::Tensor GatedGelu(const at::Tensor& x);

// Applies an elementwise nonlinearity to x [B, ...].
at::Tensor Activate(Activation activation, const at::Tensor& x, KernelOptions options);

// Whether oneDNN can run convolutions on `device` in `dtype`.
bool OneDnnServes(at::Device device, at::ScalarType dtype);

// The best order in memory for images on `device`.
at::MemoryFormat PreferredMemoryFormat(at::Device device);

// Applies `f` to each row of x [B, ...] separately, so that results are batch-invariant.
template <typename Function>
at::Tensor RowWise(const at::Tensor& x, const Function& f) {
  const int64_t rows = x.size(0);
  if (rows == 1) return f(x);
  std::vector<at::Tensor> results;
  results.reserve(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i) results.push_back(f(x.narrow(0, i, 1)));
  return at::cat(results);
}

}  // namespace denoise::nn
