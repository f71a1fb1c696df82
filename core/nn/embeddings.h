// Turns the timestep and the class of each row into one vector.
#pragma once

#include <ATen/core/Tensor.h>

#include "core/nn/layers.h"
#include "core/nn/unet2d_config.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

// Projects a number to a vector. Only the table or the frequencies are stored. Computed in float32.
//  - positional: sines and cosines of t * 10000^(-i / (half - freq_shift))
//    (Vaswani et al. 2017; Ho et al. 2020);
//  - fourier: sines and cosines of 2 pi w_i log t with random frequencies w
//    (Song et al. 2021, app. C.2);
//  - learned: a table, read at the nearest whole timestep.
struct TimeProjection {
  TimeEmbeddingType type = TimeEmbeddingType::kPositional;
  at::Tensor frequencies;  // [dim / 2] float32
  at::Tensor table;        // [num_train_timesteps, dim]
  bool cosines_first = false;
  bool pad_one = false;  // an odd dim ends in a zero
  bool batch_invariant = true;

  static TimeProjection Load(const WeightScope& root, const UNet2DConfig& config, at::Device device,
                             KernelOptions options);
  static TimeProjection Positional(int64_t dim, double freq_shift, bool cosines_first,
                                   at::Device device, KernelOptions options);
  // The size of the vector.
  static int64_t Dim(const UNet2DConfig& config);
  // numbers [B] float32 -> [B, dim] float32 (learned: in the table's dtype).
  at::Tensor operator()(const at::Tensor& numbers) const;
};

// Linear, activation, Linear.
struct EmbeddingMlp {
  Linear linear_1;
  Linear linear_2;
  KernelOptions options;
  Activation activation = Activation::kSilu;

  static EmbeddingMlp Load(const WeightScope& scope, int64_t in, int64_t out,
                           KernelOptions options);
  at::Tensor operator()(const at::Tensor& x, const RowAdapters& adapters = {}) const;
};

// The sum of the embeddings of time and class.
struct Conditioner {
  TimeProjection time_projection;
  EmbeddingMlp time_embedding;
  ClassEmbedding class_embedding = ClassEmbedding::kNone;
  at::Tensor class_table;  // [num_class_embeds, time_embedding_dim]; kTable only
  EmbeddingMlp class_mlp;  // kTimestep only
  at::ScalarType dtype = at::kFloat;

  static Conditioner Load(const WeightScope& root, const UNet2DConfig& config, at::Device device,
                          at::ScalarType dtype, KernelOptions options);
  // timesteps [B] float32 and, unless the class embedding is kNone, class_labels [B] int64 -> [B,
  // time_embedding_dim].
  at::Tensor operator()(const at::Tensor& timesteps, const at::Tensor& class_labels) const;

 private:
  at::Tensor EmbedClass(const at::Tensor& class_labels) const;
};

}  // namespace denoise::nn
